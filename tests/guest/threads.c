/* Threads: how they come, go, wait for each other and are told things. */
#include "guest.h"
#include <semaphore.h>
#include <setjmp.h>

static atomic_int counter;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long plain;

static void *add(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		atomic_fetch_add(&counter, 1);
		pthread_mutex_lock(&lock);
		plain++;
		pthread_mutex_unlock(&lock);
	}
	return (char *)arg + 1;
}

static void many(void)
{
	pthread_t threads[16];
	long sum = 0;
	void *result;

	for (int round = 0; round < 5; round++) {
		for (long i = 0; i < 16; i++)
			pthread_create(&threads[i], NULL, add, (void *)i);
		for (int i = 0; i < 16; i++) {
			pthread_join(threads[i], &result);
			sum += (long)result;
		}
	}
	printf("%d %ld %ld\n", counter, plain, sum);
}

static void *nothing(void *arg)
{
	return arg;
}

/* A program may look up the word that the kernel clears when a thread ends, and set it again. */
static void *set_again(void *arg)
{
	int *word = NULL;

	if (prctl(PR_GET_TID_ADDRESS, &word) == 0) {
		syscall(SYS_set_tid_address, NULL);
		syscall(SYS_set_tid_address, word);
	}
	return word && *word == gettid() ? arg : NULL;
}

static void tid_address(void)
{
	pthread_t thread;
	void *result = NULL;

	pthread_create(&thread, NULL, set_again, &thread);
	pthread_join(thread, &result);
	printf("the thread's own %d\n", result == &thread);
}

static void come_and_go(void)
{
	pthread_t thread;
	int failed = 0;

	for (int i = 0; i < 1500; i++) {
		if (pthread_create(&thread, NULL, nothing, NULL))
			failed++;
		else
			pthread_join(thread, NULL);
	}
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < 300; i++)
		failed += pthread_create(&thread, &attr, nothing, NULL) != 0;
	printf("failed %d\n", failed);
}

static void *pong(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&lock);
		while (plain % 2 == 0)
			pthread_cond_wait(&condition, &lock);
		plain++;
		pthread_cond_signal(&condition);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void ping_pong(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, pong, NULL);
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&lock);
		while (plain % 2 == 1)
			pthread_cond_wait(&condition, &lock);
		plain++;
		pthread_cond_signal(&condition);
		pthread_mutex_unlock(&lock);
	}
	pthread_join(thread, NULL);
	printf("%ld\n", plain);
}

static void cleaned_up(void *arg)
{
	printf("cleaned up\n");
}

static void *wait_for_ever(void *arg)
{
	pthread_cleanup_push(cleaned_up, NULL);
	if (arg)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	counter = 1;
	while (arg)
		;
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel(void)
{
	pthread_t thread;
	void *result;

	for (long how = 0; how < 2; how++) {
		counter = 0;
		pthread_create(&thread, NULL, wait_for_ever, (void *)how);
		while (!counter)
			sched_yield();
		pthread_cancel(thread);
		pthread_join(thread, &result);
		printf("cancelled %d\n", result == PTHREAD_CANCELED);
	}
}

/* Every thread has to change its user: the C library sends each signal 33. */
static sem_t go_on;

static void *have_user(void *arg)
{
	sem_wait(&go_on);
	printf("%d %d\n", getuid() == 12345, geteuid() == 12345);
	return NULL;
}

static void set_user(void)
{
	pthread_t threads[3];

	if (geteuid() != 0) {
		printf("1 1\n1 1\n1 1\n0\n");
		return;
	}
	sem_init(&go_on, 0, 0);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, have_user, NULL);
	int rc = setresuid(12345, 12345, 12345);
	for (int i = 0; i < 3; i++)
		sem_post(&go_on);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("%d\n", rc);
}

static pthread_mutex_t robust_lock;

static void *die_with_it(void *arg)
{
	pthread_mutex_lock(&robust_lock);
	return NULL;
}

static void robust(void)
{
	pthread_mutexattr_t attr;
	pthread_t thread;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	for (int pi = 0; pi < 2; pi++) {
		pthread_mutexattr_setprotocol(&attr, pi ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE);
		pthread_mutex_init(&robust_lock, &attr);
		pthread_create(&thread, NULL, die_with_it, NULL);
		pthread_join(thread, NULL);
		printf("owner dead %d", pthread_mutex_lock(&robust_lock) == EOWNERDEAD);
		printf(" consistent %d", pthread_mutex_consistent(&robust_lock));
		printf(" unlock %d", pthread_mutex_unlock(&robust_lock));
		printf(" lock %d\n", pthread_mutex_lock(&robust_lock));
		pthread_mutex_unlock(&robust_lock);
	}
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_NONE);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutex_init(shared, &attr);
	pid_t child = fork();
	if (child == 0) {
		pthread_mutex_lock(shared);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, NULL, 0);
	printf("of a process: %d\n", pthread_mutex_lock(shared) == EOWNERDEAD);
}

static __thread int own = 5;

static void *look_at_own(void *arg)
{
	own += (int)(long)arg;
	printf("own %d tid %d\n", own, gettid() != getpid());
	return NULL;
}

static void own_variables(void)
{
	pthread_t thread;

	for (long i = 1; i < 4; i++) {
		pthread_create(&thread, NULL, look_at_own, (void *)i);
		pthread_join(thread, NULL);
	}
	printf("own %d\n", own);
}

/* ---- signals and threads ---- */

static pthread_t hit;
static atomic_int hits;

static void on_hit(int sig, siginfo_t *info, void *context)
{
	hit = pthread_self();
	hits++;
}

static void *be_hit(void *arg)
{
	sigset_t set = set_of(SIGUSR1, 0);

	pthread_sigmask(arg ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
	counter++;
	while (counter < 100)
		if (arg)
			pause();
		else
			sched_yield();
	return NULL;
}

static void which_thread(void)
{
	sigset_t set = set_of(SIGUSR1, 0);
	pthread_t deaf, open;

	handle(SIGUSR1, on_hit, 0);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&deaf, NULL, be_hit, NULL);
	pthread_create(&open, NULL, be_hit, (void *)1);
	while (counter < 2)
		sched_yield();
	for (int i = 0; i < 20; i++) {
		int before = hits;
		kill(getpid(), SIGUSR1);
		while (hits == before)
			sched_yield();
		if (!pthread_equal(hit, open))
			printf("the wrong one\n");
	}
	pthread_kill(deaf, SIGUSR1);
	counter = 100;
	pthread_kill(open, SIGUSR1);
	pthread_join(open, NULL);
	pthread_join(deaf, NULL);
	printf("hits %d\n", hits >= 21);
}

static void *exits_later(void *arg)
{
	while (!counter)
		sched_yield();
	usleep(10000);
	printf("the main thread has gone\n");
	exit(6);
}

static void main_goes(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, exits_later, NULL);
	counter = 1;
	pthread_exit(NULL);
}

static void *returns_later(void *arg)
{
	usleep(10000);
	return NULL;
}

static void all_return(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, returns_later, NULL);
	pthread_exit(NULL);
}

static void *block_in_a_call(void *arg)
{
	int fds[2];
	char c;

	if (pipe(fds) == 0) {
		counter++;
		if (read(fds[0], &c, 1) == 0)
			counter++;
	}
	return NULL;
}

static void exit_while_others_block(void)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, block_in_a_call, NULL);
	while (counter < 4)
		sched_yield();
	exit(9);
}

static void *fork_here(void *arg)
{
	int status;

	for (int i = 0; i < 10; i++) {
		pid_t child = fork();
		if (child == 0) {
			void *memory = malloc(1000);
			pthread_t thread;
			int rc = pthread_create(&thread, NULL, nothing, NULL);
			if (rc == 0)
				rc = pthread_join(thread, NULL);
			free(memory);
			_exit(rc == 0 && gettid() == getpid() ? 5 : 1);
		}
		waitpid(child, &status, 0);
		if (status != 0x500)
			printf("child: %x\n", status);
	}
	return NULL;
}

static void *allocate(void *arg)
{
	while (counter == 0)
		free(malloc(4000));
	return NULL;
}

static void fork_in_threads(void)
{
	pthread_t forking[3], busy[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&busy[i], NULL, allocate, NULL);
	for (int i = 0; i < 3; i++)
		pthread_create(&forking[i], NULL, fork_here, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(forking[i], NULL);
	counter = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(busy[i], NULL);
	printf("done\n");
}

/* Signals fly between threads that compute, wait and call. */
static void *storm_target(void *arg)
{
	while (counter == 0) {
		struct timespec t = {0, 1000};
		nanosleep(&t, NULL);
		for (volatile int i = 0; i < 100; i++)
			;
	}
	return NULL;
}

static void storm(void)
{
	pthread_t threads[4];

	handle(SIGUSR1, on_hit, SA_RESTART);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, storm_target, NULL);
	for (int i = 0; i < 4000; i++)
		pthread_kill(threads[i % 4], SIGUSR1);
	counter = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	printf("hit %d\n", hits > 0);
}

static void clone_errors(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	tell_errno("thread", syscall(SYS_clone, CLONE_THREAD, stack + 65536, 0, 0, 0));
	tell_errno("handlers", syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, stack + 65536, 0, 0, 0));
	tell_errno("process", syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, stack + 65536, 0, 0, 0));
}

/* ---- loops that end because their code is another, or is gone ---- */

#ifdef __aarch64__
static const uint32_t endless[] = {0xd503201f, 0x17ffffff, 0xd65f03c0}; /* nop, b to it, ret */
enum { BRANCH = 4, BRANCH_SIZE = 4 };
static const uint32_t other_branch = 0xd503201f;
#else
static const unsigned char endless[] = {0x90, 0x90, 0xeb, 0xfc, 0xc3}; /* the same */
enum { BRANCH = 2, BRANCH_SIZE = 2 };
static const uint16_t other_branch = 0x9090;
#endif

static char *loop_at;
static atomic_int nr_looping;
static __thread sigjmp_buf out_of_loop;

static void leave_loop(int sig, siginfo_t *info, void *context)
{
	siglongjmp(out_of_loop, 1);
}

static void *go_round(void *arg)
{
	atomic_fetch_add(&nr_looping, 1);
	if (sigsetjmp(out_of_loop, 1))
		return (void *)1;
	((void (*)(void))loop_at)();
	return NULL;
}

static void *map_loop(size_t at)
{
	char *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	loop_at = code + at;
	memcpy(loop_at, endless, sizeof endless);
	__builtin___clear_cache(loop_at, loop_at + sizeof endless);
	return code;
}

static void end_loop(char *code, int how)
{
	if (how == 0) {
		memcpy(loop_at + BRANCH, &other_branch, BRANCH_SIZE);
		__builtin___clear_cache(loop_at, loop_at + sizeof endless);
	} else if (how == 1) {
		munmap(code, 8192);
	} else if (how == 2) {
		mprotect(code, 8192, PROT_READ);
	} else {
		munmap(code + 4096, 4096);
	}
}

static void loops_that_end(void)
{
	struct sigaction act = {.sa_sigaction = leave_loop, .sa_flags = SA_SIGINFO};
	int left[2] = {0};

	sigaction(SIGSEGV, &act, NULL);
	for (int i = 0; i < 80; i++) {
		char *code = map_loop(i % 4 == 3 ? 4096 - BRANCH : 0);
		pthread_t threads[2];
		void *how;
		atomic_store(&nr_looping, 0);
		for (int k = 0; k < 2; k++)
			pthread_create(&threads[k], NULL, go_round, NULL);
		while (atomic_load(&nr_looping) < 2)
			;
		usleep((unsigned)i * 20); /* some are not yet in it, some have been for long */
		end_loop(code, i % 4);
		for (int k = 0; k < 2; k++) {
			pthread_join(threads[k], &how);
			left[how != NULL]++;
		}
		munmap(code, 8192);
	}
	printf("returned %d, faulted %d\n", left[0], left[1]);
}

MAIN(PART(many), PART(come_and_go), PART(ping_pong), PART(cancel), PART(set_user), PART(robust), PART(own_variables),
     PART(which_thread), PART(main_goes), PART(all_return), PART(exit_while_others_block), PART(fork_in_threads),
     PART(storm), PART(clone_errors), PART(loops_that_end), PART(tid_address))
