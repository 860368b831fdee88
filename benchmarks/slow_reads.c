// SPDX-FileCopyrightText: 2026 The elmer_jax authors
// SPDX-License-Identifier: Apache-2.0
//
// Delays every read of an ArrayRecord file, as a network file system does.
//
//   cc -shared -fPIC -o /tmp/slow_reads.so benchmarks/slow_reads.c -ldl
//   READ_DELAY_MS=20 LD_PRELOAD=/tmp/slow_reads.so python benchmarks/loader.py
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void delay(int fd) {
  const char *milliseconds = getenv("READ_DELAY_MS");
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (!milliseconds || length < 0) return;
  path[length] = 0;
  if (!strstr(path, ".arrayrecord")) return;
  long value = atol(milliseconds);
  struct timespec time = {value / 1000, value % 1000 * 1000000};
  nanosleep(&time, NULL);
}

#define DELAYED(name, offset_type)                                          \
  ssize_t name(int fd, void *buffer, size_t size, offset_type offset) {     \
    delay(fd);                                                              \
    ssize_t (*next)(int, void *, size_t, offset_type) = dlsym(RTLD_NEXT, #name); \
    return next(fd, buffer, size, offset);                                  \
  }

DELAYED(pread, off_t)
DELAYED(pread64, off64_t)
