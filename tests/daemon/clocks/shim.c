/* Clocks that a test can set: preloaded into the daemon, which reads them through libc.
 *
 * CLOCK_SHIM names a file of two 64-bit numbers, nanoseconds by which the wall clock and boot time are
 * ahead. A timer of boot time is set by the kernel's own clock, so it is set anew when they change, as
 * the kernel does after a suspend. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define MOST 1024

static volatile int64_t *ahead; /* of the wall clock, of boot time */
static int (*true_gettime)(clockid_t, struct timespec *);
static int (*true_settime)(int, int, const struct itimerspec *, struct itimerspec *);
static int (*true_create)(int, int);
static int (*true_close)(int);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char is_of_boot[MOST];
static struct itimerspec wanted[MOST];

static int64_t shift_of(clockid_t clock) {
  if (!ahead) return 0;
  if (clock == CLOCK_REALTIME) return ahead[0];
  return clock == CLOCK_BOOTTIME ? ahead[1] : 0;
}

static struct timespec shifted(struct timespec time, int64_t by) {
  int64_t all = time.tv_sec * SECOND + time.tv_nsec + by;
  if (all < 1) all = 1; /* zero would disarm a timer */
  time.tv_sec = all / SECOND;
  time.tv_nsec = all % SECOND;
  return time;
}

static int arm(int timer) {
  struct itimerspec real = wanted[timer];
  if (real.it_value.tv_sec || real.it_value.tv_nsec)
    real.it_value = shifted(real.it_value, -shift_of(CLOCK_BOOTTIME));
  return true_settime(timer, TFD_TIMER_ABSTIME, &real, NULL);
}

static void *watch(void *unused) {
  int64_t seen = 0;
  (void)unused;
  for (;;) {
    usleep(2000);
    if (ahead[1] == seen) continue;
    seen = ahead[1];
    pthread_mutex_lock(&lock);
    for (int timer = 0; timer < MOST; timer++)
      if (is_of_boot[timer] && wanted[timer].it_value.tv_sec) arm(timer);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

__attribute__((constructor)) static void begin(void) {
  pthread_t watcher;
  true_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  true_settime = dlsym(RTLD_NEXT, "timerfd_settime");
  true_create = dlsym(RTLD_NEXT, "timerfd_create");
  true_close = dlsym(RTLD_NEXT, "close");
  const char *path = getenv("CLOCK_SHIM");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *page = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  true_close(file);
  if (page == MAP_FAILED) return;
  ahead = page;
  pthread_create(&watcher, NULL, watch, NULL);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = true_gettime(clock, time);
  if (result == 0 && shift_of(clock)) *time = shifted(*time, shift_of(clock));
  return result;
}

int timerfd_create(int clock, int flags) {
  int timer = true_create(clock, flags);
  if (timer >= 0 && timer < MOST) {
    pthread_mutex_lock(&lock);
    is_of_boot[timer] = clock == CLOCK_BOOTTIME;
    wanted[timer] = (struct itimerspec){0};
    pthread_mutex_unlock(&lock);
  }
  return timer;
}

int timerfd_settime(int timer, int flags, const struct itimerspec *new, struct itimerspec *old) {
  if (timer < 0 || timer >= MOST || !is_of_boot[timer] || !(flags & TFD_TIMER_ABSTIME))
    return true_settime(timer, flags, new, old);
  pthread_mutex_lock(&lock);
  wanted[timer] = *new;
  int result = arm(timer);
  pthread_mutex_unlock(&lock);
  return result;
}

int close(int descriptor) {
  if (descriptor >= 0 && descriptor < MOST) is_of_boot[descriptor] = 0;
  return true_close(descriptor);
}
