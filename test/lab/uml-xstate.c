/*
 * Lets linux.uml run on a processor that saves more register state than its kernel knew when it was compiled (AMX:
 * 11008 bytes instead of 2696). Linux takes back only the whole state, and linux.uml writes its short one: what is
 * beyond belongs to instructions that nothing in it can use, and is written as zeros. Made for LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long ptrace_function(int request, int pid, void *address, void *data);

/* Larger than any processor's state; Linux takes as much of it as it wants. Static: a stack of linux.uml is small. */
static unsigned char whole[64 * 1024];
/* The process that has the state `whole`, as long as it does not run. */
static int unchanged;

/* linux.uml writes the state back after each system call, mostly as it was read: Linux need not be asked then. */
static long set_state(ptrace_function *next, int pid, const struct iovec *state) {
  if (pid == unchanged && memcmp(whole, state->iov_base, state->iov_len) == 0) return 0;
  unchanged = 0;
  memcpy(whole, state->iov_base, state->iov_len);
  struct iovec all = {whole, sizeof whole};
  return next(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &all);
}

static long get_state(ptrace_function *next, int pid, struct iovec *state) {
  long result = next(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, state);
  if (result < 0) return result;
  memcpy(whole, state->iov_base, state->iov_len);
  unchanged = pid;
  return result;
}

long ptrace(enum __ptrace_request request, ...) {
  static ptrace_function *next;
  if (next == NULL) next = (ptrace_function *)dlsym(RTLD_NEXT, "ptrace");

  va_list list;
  va_start(list, request);
  int pid = va_arg(list, int);
  void *address = va_arg(list, void *);
  void *data = va_arg(list, void *);
  va_end(list);

  if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE) return set_state(next, pid, data);
  if (request == PTRACE_GETREGSET && address == (void *)NT_X86_XSTATE) return get_state(next, pid, data);
  if (request != PTRACE_SETREGS && request != PTRACE_GETREGS) unchanged = 0;
  return next(request, pid, address, data);
}
