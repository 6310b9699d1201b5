// Package host is what drawbridge asks of the machine it runs on: no core dumps,
// no debugger, and word to systemd about how it is doing.
package host

import (
	"fmt"
	"syscall"
)

const prSetDumpable = 4 // PR_SET_DUMPABLE, linux/prctl.h

// Harden keeps the memory of this process to itself: no core dumps
// (RLIMIT_CORE), and no ptrace or /proc/PID/mem for others of the same user
// (PR_SET_DUMPABLE). It does not keep memory from being swapped.
func Harden() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("host: RLIMIT_CORE: %w", err)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return fmt.Errorf("host: PR_SET_DUMPABLE: %w", errno)
	}
	return nil
}
