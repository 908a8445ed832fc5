// OpenSSL 3 as Swift sees it: declarations only.
#pragma once
#include <openssl/evp.h>
#include <openssl/rand.h>
