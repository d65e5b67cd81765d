/* The version of the programs, once, and as bytes of the program file: whoever repackages a build can stamp another one of the same
   length into it, and the tests of upgrades do. */
#include "clx_process.h"
#include <string.h>

static volatile const char stamp[] = "gateway version 1.0.0";

const char *clx_version(void) { return (const char *)stamp + sizeof "gateway version " - 1; }
