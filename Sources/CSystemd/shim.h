// What the master needs of libsystemd: telling the service manager how it goes, and taking the sockets it hands over.
#include <systemd/sd-daemon.h>
