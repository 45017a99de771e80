/* Sockets of every kind that needs no network. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "say.h"

static void pairs(void)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	char data[16] = "";
	struct iovec iov = {(char *)"with a descriptor", 17};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int s[2], p[2], got;

	SAY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	SAY(pipe(p));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &p[1], sizeof(int));
	SAY(sendmsg(s[0], &m, 0));
	iov = (struct iovec){data, sizeof data - 1};
	SAY(recvmsg(s[1], &m, MSG_CMSG_CLOEXEC));
	printf("%s, flags %x\n", data, m.msg_flags & MSG_TRUNC);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
	SAY(write(got, "through it", 10));
	SAY(read(p[0], data, sizeof data));
	printf("%.10s\n", data);
	SAY(recv(s[1], data, 1, MSG_DONTWAIT));
	SAY(recv(s[1], data, 8, MSG_DONTWAIT));
	SAY(shutdown(s[0], SHUT_WR));
	SAY(recv(s[1], data, 8, 0));
	SAY(send(s[0], "x", 1, MSG_NOSIGNAL));
	close(s[0]);
	close(s[1]);
	close(p[0]);
	close(p[1]);
	close(got);
}

static void options(void)
{
	struct timeval tv = {.tv_usec = 20000};
	int s = socket(AF_INET, SOCK_STREAM, 0), value = 1, error;
	socklen_t len = sizeof value;
	struct linger linger = {1, 7};
	char c;

	SAY(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, sizeof value));
	SAY(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
	value = 0;
	SAY(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, &len));
	printf("nodelay %d\n", value);
	SAY(getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &len));
	printf("type %d\n", value);
	SAY(setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
	len = sizeof linger;
	linger.l_linger = 0;
	SAY(getsockopt(s, SOL_SOCKET, SO_LINGER, &linger, &len));
	printf("linger %d\n", linger.l_linger);
	SAY(setsockopt(s, SOL_SOCKET, 12345, &value, sizeof value));
	close(s);
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	SAY(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	SAY(recv(s, &c, 1, 0));
	len = sizeof error;
	SAY(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &len));
	close(s);
	SAY(socket(99, SOCK_STREAM, 0));
}

static int listening;

static void *answer(void *arg)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof peer;
	int s = accept4(listening, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
	char data[64];
	ssize_t got;

	while ((got = recv(s, data, sizeof data, 0)) > 0)
		if (send(s, data, (size_t)got, 0) != got)
			break;
	close(s);
	return NULL;
}

static void internet(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	pthread_t thread;
	char data[16] = "";
	int s;

	listening = socket(AF_INET, SOCK_STREAM, 0);
	SAY(bind(listening, (struct sockaddr *)&addr, sizeof addr));
	SAY(listen(listening, 4));
	SAY(getsockname(listening, (struct sockaddr *)&addr, &len));
	printf("len %u family %d %s\n", len, addr.sin_family, inet_ntoa(addr.sin_addr));
	pthread_create(&thread, NULL, answer, NULL);
	s = socket(AF_INET, SOCK_STREAM, 0);
	SAY(connect(s, (struct sockaddr *)&addr, sizeof addr));
	SAY(send(s, "echo", 4, 0));
	SAY(recv(s, data, 4, MSG_WAITALL));
	printf("%s\n", data);
	SAY(getpeername(s, (struct sockaddr *)&addr, &len));
	close(s);
	pthread_join(thread, NULL);
	close(listening);
	s = socket(AF_INET, SOCK_STREAM, 0);
	SAY(connect(s, (struct sockaddr *)&addr, sizeof addr));
	close(s);
}

static void datagrams(void)
{
	struct sockaddr_un a = {AF_UNIX, "one"}, b = {AF_UNIX, "two"}, from = {0};
	struct iovec iov[2] = {{(char *)"first", 5}, {(char *)"second", 6}};
	struct mmsghdr many[2] = {0};
	struct timespec wait = {.tv_nsec = 50000000};
	char data[2][16] = {"", ""};
	socklen_t len = sizeof from;
	int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);

	SAY(bind(one, (struct sockaddr *)&a, sizeof a));
	SAY(bind(two, (struct sockaddr *)&b, sizeof b));
	SAY(bind(two, (struct sockaddr *)&b, sizeof b));
	SAY(sendto(one, "letter", 6, 0, (struct sockaddr *)&b, sizeof b));
	SAY(recvfrom(two, data[0], 16, 0, (struct sockaddr *)&from, &len));
	printf("%s from %s\n", data[0], from.sun_path);
	SAY(connect(one, (struct sockaddr *)&b, sizeof b));
	for (int i = 0; i < 2; i++) {
		many[i].msg_hdr.msg_iov = &iov[i];
		many[i].msg_hdr.msg_iovlen = 1;
	}
	SAY(sendmmsg(one, many, 2, 0));
	for (int i = 0; i < 2; i++)
		iov[i] = (struct iovec){data[i], 15};
	SAY(recvmmsg(two, many, 2, 0, &wait));
	printf("%.5s %.6s %u %u\n", data[0], data[1], many[0].msg_len, many[1].msg_len);
	SAY(recv(two, data[0], 15, MSG_DONTWAIT));
	close(one);
	close(two);
	SAY(unlink("one"));
	SAY(unlink("two"));
}

int main(void)
{
	enter();
	pairs();
	options();
	internet();
	datagrams();
	leave();
	return 0;
}
