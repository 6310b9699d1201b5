package host

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Notifier tells systemd how the service is doing (sd_notify(3)). Its zero value
// tells nobody.
type Notifier struct {
	addr     string
	watchdog time.Duration
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
func NewNotifier(getenv func(string) string) Notifier {
	n := Notifier{addr: getenv("NOTIFY_SOCKET")}
	if pid := getenv("WATCHDOG_PID"); n.addr == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n
	}
	if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		n.watchdog = time.Duration(us) * time.Microsecond
	}
	return n
}

// Watchdog is how often systemd wants to hear Alive; 0 for never. Say it twice
// as often.
func (n Notifier) Watchdog() time.Duration { return n.watchdog }

// Ready says that the service has started, or is done reloading.
func (n Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+status) }

// Status says how the service is doing, for `systemctl status`.
func (n Notifier) Status(status string) error { return n.send("STATUS=" + status) }

// Alive feeds the watchdog.
func (n Notifier) Alive() error { return n.send("WATCHDOG=1") }

// Stopping says that the service is shutting down.
func (n Notifier) Stopping() error { return n.send("STOPPING=1") }

// Reloading says that the service reads its configuration anew; Ready ends it.
func (n Notifier) Reloading() error {
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic().Microseconds(), 10))
}

func (n Notifier) send(lines ...string) error {
	if n.addr == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("host: notify: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\n", " ")
	}
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("host: notify: %w", err)
	}
	return nil
}

// monotonic is CLOCK_MONOTONIC, which systemd compares RELOADING with.
func monotonic() time.Duration {
	var ts syscall.Timespec
	const clockMonotonic = 1
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
