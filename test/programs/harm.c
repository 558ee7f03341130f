/*
 * Preloaded into a daemon (LD_PRELOAD): makes fsync(2) and fdatasync(2) fail with EIO while the file that $HARM_FSYNC names
 * exists, makes the next of them take 1.2 s where $HARM_SLOW does, which is removed by that, has statfs(2), and open(2) of a file
 * below a folder output/, hang while $HARM_HANG exists, and turns the wall clock back by $HARM_CLOCK seconds, or by as many as the file
 * $HARM_CLOCK_FILE says at that moment. See ld.so(8).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static int exists(const char *variable) {
  const char *file = getenv(variable);
  return file != NULL && access(file, F_OK) == 0;
}

static int harmed(void) {
  const char *slow = getenv("HARM_SLOW");
  if (slow != NULL && unlink(slow) == 0) usleep(1200 * 1000);
  return exists("HARM_FSYNC");
}

/* As on a network file system whose server is away. */
static void hang(void) {
  while (exists("HARM_HANG")) usleep(10 * 1000);
}

int statfs64(const char *path, struct statfs64 *facts) {
  static int (*real)(const char *, struct statfs64 *);
  if (real == NULL) real = (int (*)(const char *, struct statfs64 *))dlsym(RTLD_NEXT, "statfs64");
  hang();
  return real(path, facts);
}

int open64(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (real == NULL) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
  if (strstr(path, "/output/") != NULL) hang();
  return real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
  static int (*real)(const char *, int, ...);
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (real == NULL) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  if (strstr(path, "/output/") != NULL) hang();
  return real(path, flags, mode);
}

static long clock_shift(void) {
  const char *file = getenv("HARM_CLOCK_FILE");
  if (file != NULL) {
    char text[32] = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd == -1) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 ? atol(text) : 0;
  }
  const char *seconds = getenv("HARM_CLOCK");
  return seconds == NULL ? 0 : atol(seconds);
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (!harmed()) return real(fd);
  errno = EIO;
  return -1;
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if (!harmed()) return real(fd);
  errno = EIO;
  return -1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec -= clock_shift();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &precise) != 0) return -1;
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}
