// CCares — c-ares' asynchronous queries.
#include <ares.h>
