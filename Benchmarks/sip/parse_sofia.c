/* parse_sofia FILE COUNT: nanoseconds sofia-sip takes for a message, its session description included when there is one. */
#include <sofia-sip/msg.h>
#include <sofia-sip/sdp.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/su.h>
#include "measure.h"

static const msg_mclass_t *class;

static int parse(const char *bytes, size_t count)
{
    msg_t *message = msg_make(class, 0, bytes, count);
    sip_t *sip = message != NULL ? sip_object(message) : NULL;
    sdp_parser_t *description;
    if (sip == NULL || sip->sip_error != NULL || sip->sip_request == NULL || sip->sip_cseq == NULL) return 1;
    if (sip->sip_payload != NULL && sip->sip_payload->pl_len > 0) {
        description = sdp_parse(NULL, sip->sip_payload->pl_data, sip->sip_payload->pl_len, 0);
        if (sdp_session(description) == NULL) return 1;
        sdp_parser_free(description);
    }
    msg_destroy(message);
    return 0;
}

int main(int argc, char **argv)
{
    su_init();
    class = sip_default_mclass();
    return measure(argc, argv, parse);
}
