// CYAML — libyaml's event parser, which reads YAML and JSON and knows line and column of everything it reads.
#include <yaml.h>
