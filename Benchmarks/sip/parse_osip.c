/* parse_osip FILE COUNT: nanoseconds libosip2 takes for a message, its session description included when there is one. */
#include <osipparser2/osip_parser.h>
#include <osipparser2/sdp_message.h>
#include "measure.h"

static int parse(const char *bytes, size_t count)
{
    osip_message_t *message;
    osip_body_t *body = NULL;
    sdp_message_t *description;
    if (osip_message_init(&message) != 0) return 1;
    if (osip_message_parse(message, bytes, count) != 0) return 1;
    if (osip_message_get_body(message, 0, &body) == 0 && body != NULL) {
        if (sdp_message_init(&description) != 0 || sdp_message_parse(description, body->body) != 0) return 1;
        sdp_message_free(description);
    }
    osip_message_free(message);
    return 0;
}

int main(int argc, char **argv)
{
    parser_init();
    return measure(argc, argv, parse);
}
