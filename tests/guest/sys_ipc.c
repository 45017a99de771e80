/* System V and POSIX queues, semaphores, shared memory; mappings. */
#include <fcntl.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>

#include "say.h"

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static void semaphores(void)
{
	struct sembuf up = {1, 3, 0}, down = {1, -2, IPC_NOWAIT}, too_far = {1, -9, IPC_NOWAIT}, wait = {1, -9, 0};
	struct timespec little = {.tv_nsec = 10000000};
	unsigned short values[2] = {0};
	struct semid_ds ds = {0};
	int id = semget(IPC_PRIVATE, 2, 0640 | IPC_CREAT);

	SAY(semctl(id, 0, SETVAL, (union semun){.val = 7}));
	SAY(semctl(id, 0, GETVAL));
	SAY(semop(id, &up, 1));
	SAY(semop(id, &down, 1));
	SAY(semop(id, &too_far, 1));
	SAY(semtimedop(id, &wait, 1, &little));
	SAY(semctl(id, 0, GETALL, (union semun){.array = values}));
	printf("%u %u\n", values[0], values[1]);
	SAY(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
	printf("mode %o nsems %lu otime %d ctime %d\n", ds.sem_perm.mode, (unsigned long)ds.sem_nsems,
	       time(NULL) - ds.sem_otime < 100, time(NULL) - ds.sem_ctime < 100);
	ds.sem_perm.mode = 0600;
	SAY(semctl(id, 0, IPC_SET, (union semun){.buf = &ds}));
	SAY(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
	printf("mode %o\n", ds.sem_perm.mode);
	SAY(semctl(id, 0, IPC_RMID));
	SAY(semctl(id, 0, GETVAL));
}

static void messages(void)
{
	struct {
		long type;
		char text[16];
	} m = {5, "message"};
	struct msqid_ds ds = {0};
	int id = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);

	SAY(msgsnd(id, &m, 8, 0));
	SAY(msgctl(id, IPC_STAT, &ds));
	printf("%lu messages, %lu bytes\n", (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes);
	m.type = 0;
	SAY(msgrcv(id, &m, 16, 4, IPC_NOWAIT));
	SAY(msgrcv(id, &m, 16, 5, 0));
	printf("%ld %s\n", m.type, m.text);
	SAY(msgctl(id, IPC_RMID, NULL));
}

static void shared(void)
{
	struct shmid_ds ds = {0};
	int id = shmget(IPC_PRIVATE, 10000, 0600 | IPC_CREAT), status;
	char *p = shmat(id, NULL, 0), *q;
	pid_t child;

	printf("attached %d\n", p != (void *)-1);
	strcpy(p, "shared");
	child = fork();
	if (!child) {
		strcat(p, " with a child");
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("%s\n", p);
	q = shmat(id, NULL, SHM_RDONLY);
	printf("%s\n", q);
	SAY(shmctl(id, IPC_STAT, &ds));
	printf("size %zu attached %lu\n", ds.shm_segsz, (unsigned long)ds.shm_nattch);
	SAY(shmdt(p));
	SAY(shmdt(q));
	SAY(shmdt(p));
	SAY(shmctl(id, IPC_RMID, NULL));
	SAY(shmat(id, NULL, 0) == (void *)-1);
}

static void queues(void)
{
	struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 32}, now = {0};
	char name[64], text[32] = "";
	unsigned priority = 0;
	mqd_t q;

	snprintf(name, sizeof name, "/guest-%d", getpid());
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
	SAY_OK(q);
	SAY(mq_send(q, "low", 4, 1));
	SAY(mq_send(q, "high", 5, 9));
	SAY(mq_getattr(q, &now));
	printf("%ld of %ld, %ld each\n", now.mq_curmsgs, now.mq_maxmsg, now.mq_msgsize);
	SAY(mq_receive(q, text, sizeof text, &priority));
	printf("%s %u\n", text, priority);
	SAY(mq_receive(q, text, sizeof text, &priority));
	SAY(mq_receive(q, text, sizeof text, &priority));
	SAY(mq_close(q));
	SAY(mq_unlink(name));
	SAY(mq_unlink(name));
}

static void mappings(void)
{
	long page = sysconf(_SC_PAGESIZE);
	unsigned char in_core[4] = {0};
	char *p = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *q;
	int fd = memfd_create("mapped", 0);

	memset(p, 'a', 4 * page);
	SAY(mincore(p, 4 * page, in_core));
	printf("%d %d\n", in_core[0] & 1, in_core[3] & 1);
	SAY(madvise(p, page, MADV_DONTNEED));
	printf("%d %d\n", p[0], p[page]);
	SAY(madvise(p, page, 4711));
	SAY(mprotect(p, page, PROT_READ));
	SAY(mprotect(p + 1, page, PROT_READ));
	SAY(munmap(p + page, page));
	SAY(madvise(p, 4 * page, MADV_NORMAL));
	SAY(mprotect(p, 4 * page, PROT_READ));
	SAY(msync(p, 4 * page, MS_SYNC));
	SAY(ftruncate(fd, page));
	q = mmap(p + page, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	SAY(q == p + page);
	SAY(mmap(p, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
	strcpy(q, "in the file");
	SAY(msync(q, page, MS_SYNC));
	memset(in_core, 0, sizeof in_core);
	SAY(pread(fd, in_core, 4, 3));
	printf("%.3s\n", in_core);
	SAY(mlock(q, page));
	SAY(munlock(q, page));
	p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(p, "moves");
	q = mremap(p, page, 8 * page, MREMAP_MAYMOVE);
	printf("%s %d\n", q, q[8 * page - 1]);
	SAY(mremap(q, 8 * page, page, 0) == q);
	SAY(munmap(q, page));
	SAY(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	SAY(mmap(NULL, page, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	semaphores();
	messages();
	shared();
	queues();
	mappings();
	return 0;
}
