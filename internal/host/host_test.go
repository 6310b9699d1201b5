package host

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHarden runs itself in a child: what Harden does cannot be undone.
func TestHarden(t *testing.T) {
	if os.Getenv("HOST_TEST_CHILD") != "" {
		if err := Harden(); err != nil {
			t.Fatal(err)
		}
		const prGetDumpable = 3
		if r, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prGetDumpable, 0, 0); errno != 0 || r != 0 {
			t.Errorf("dumpable = %d, %v", r, errno)
		}
		var core syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
			t.Errorf("core limit %+v, %v", core, err)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=TestHarden$", "-test.v")
	cmd.Env = append(os.Environ(), "HOST_TEST_CHILD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
	n := NewNotifier(func(k string) string { return env[k] })
	if n.Watchdog() != 3*time.Second {
		t.Errorf("watchdog = %v", n.Watchdog())
	}
	for _, tt := range []struct {
		say  func() error
		want string
	}{
		{func() error { return n.Ready("2 legs\nup") }, "READY=1\nSTATUS=2 legs up"},
		{n.Alive, "WATCHDOG=1"},
		{n.Stopping, "STOPPING=1"},
		{n.Reloading, "RELOADING=1\nMONOTONIC_USEC="},
		{func() error { return n.Status("x") }, "STATUS=x"},
	} {
		if err := tt.say(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1024)
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:k]); !strings.HasPrefix(got, tt.want) || got == "RELOADING=1\nMONOTONIC_USEC=0" {
			t.Errorf("said %q, want %q", got, tt.want)
		}
	}
}

func TestNobodyToNotify(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"no socket":          {"WATCHDOG_USEC": "3000000"},
		"another's watchdog": {"NOTIFY_SOCKET": "/nonexistent", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
	} {
		n := NewNotifier(func(k string) string { return env[k] })
		if n.Watchdog() != 0 {
			t.Errorf("%s: watchdog = %v", name, n.Watchdog())
		}
		if err := n.Alive(); (err != nil) != (env["NOTIFY_SOCKET"] != "") {
			t.Errorf("%s: Alive = %v", name, err)
		}
	}
}
