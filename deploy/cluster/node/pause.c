/* Holds a pod's namespaces open, as the upstream pause does: it waits, reaps the orphans of a pod
 * that shares its process namespace, and ends at once when it is told to. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_end(int signal) {
  (void)signal;
  _exit(0);
}

static void on_child(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

int main(void) {
  struct sigaction end = {.sa_handler = on_end};
  struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
  if (sigaction(SIGINT, &end, NULL) != 0 || sigaction(SIGTERM, &end, NULL) != 0 ||
      sigaction(SIGCHLD, &child, NULL) != 0)
    return 1;
  for (;;)
    pause();
}
