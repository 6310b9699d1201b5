package admin

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// start serves rows at a socket of its own until the test ends.
func start(t *testing.T, rows ...Row) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "admin.sock")
	s, err := Listen(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, rows) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return path
}

var echo = Row{Verb: "echo", Handle: func(_ context.Context, args json.RawMessage) (any, error) { return args, nil }}

func TestCall(t *testing.T) {
	path := start(t, echo,
		Row{Verb: "fail", Handle: func(context.Context, json.RawMessage) (any, error) {
			return "partly", &Error{Err: errors.New("no"), Hint: "try yes", Code: 2}
		}},
		Row{Verb: "plainfail", Handle: func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("plain") }},
		Row{Verb: "panic", Needs: Change, Handle: func(context.Context, json.RawMessage) (any, error) { panic("boom") }},
		Row{Verb: "unmarshalable", Handle: func(context.Context, json.RawMessage) (any, error) { return func() {}, nil }},
		Row{Verb: "huge", Handle: func(context.Context, json.RawMessage) (any, error) {
			return strings.Repeat("x", MaxResponse), nil
		}},
	)
	for _, tt := range []struct {
		verb, args, want, err, hint string
		code                        int
	}{
		{verb: "echo", args: "hello", want: "hello"},
		{verb: "fail", want: "partly", err: "no", hint: "try yes", code: 2},
		{verb: "plainfail", err: "plain", code: 1},
		{verb: "panic", err: "internal error; see the log of the bot", code: 1},
		{verb: "unmarshalable", err: "admin: encode: json: unsupported type: func()", code: 1},
		{verb: "huge", err: "admin: message too large", code: 1},
		{verb: "nosuch", err: `the running bot does not know "nosuch"`, hint: "restart it: it may be of an older version", code: 1},
	} {
		t.Run(tt.verb, func(t *testing.T) {
			var got string
			err := Call(t.Context(), path, tt.verb, tt.args, &got)
			if got != tt.want {
				t.Errorf("result %q, want %q", got, tt.want)
			}
			var e *Error
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("err = %v", err)
			case tt.err == "":
			case !errors.As(err, &e):
				t.Errorf("err = %v, want an *Error", err)
			case !strings.HasPrefix(e.Error(), tt.err) || e.Hint != tt.hint || e.Code != tt.code:
				t.Errorf("err = %q hint %q code %d", e, e.Hint, e.Code)
			}
		})
	}
	if err := Call(t.Context(), path, "echo", strings.Repeat("x", MaxRequest), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an over-long request: %v", err)
	}
}

func TestSocketIsPrivate(t *testing.T) {
	path := start(t, echo)
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("socket has mode %v, %v; want 0600", fi.Mode().Perm(), err)
	}
}

// TestOthersAreRefused: should the socket ever be open to others, what the kernel says
// of who calls decides.
func TestOthersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can be another user")
	}
	path := start(t, echo)
	for _, p := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is somebody else, ends
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		done <- Call(context.Background(), path, "echo", "it is me", nil)
	}()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "does it run as another user?") {
		t.Errorf("nobody is answered: %v", err)
	}
	if err := Call(t.Context(), path, "echo", "root", nil); err != nil {
		t.Errorf("root: %v", err)
	}
}

func TestSecondInstanceIsRefused(t *testing.T) {
	path := start(t, echo)
	if _, err := Listen(path, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrRunning) {
		t.Errorf("a second Listen: %v, want ErrRunning", err)
	}
	var got string
	if err := Call(t.Context(), path, "echo", "still there", &got); err != nil || got != "still there" {
		t.Errorf("after it the first says %q, %v", got, err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	if err := Call(t.Context(), path, "x", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a call to a stale socket: %v, want ErrNotRunning", err)
	}
	s, err := Listen(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := Call(t.Context(), path, "x", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a call after Close: %v, want ErrNotRunning", err)
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("Listen on a file: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestHostileRequests(t *testing.T) {
	path := start(t, echo)
	for name, tt := range map[string]struct{ in, want string }{
		"huge length": {"\xff\xff\xff\xff{}", ErrTooLarge.Error()},
		"not JSON":    {frame("hello"), ErrMalformed.Error()},
		"no verb":     {frame("{}"), ErrMalformed.Error()},
		"an array":    {frame("[1]"), ErrMalformed.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write([]byte(tt.in)); err != nil {
				t.Fatal(err)
			}
			var resp Response
			if err := readFrame(conn, MaxResponse, &resp); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(resp.Error, tt.want) || resp.Code != 1 {
				t.Errorf("response %+v", resp)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write([]byte("\x00\x00\x00\x10{"))
		_ = conn.CloseWrite()
		var resp Response
		if err := readFrame(conn, MaxResponse, &resp); err != nil || resp.Error == "" {
			t.Errorf("response %+v, %v", resp, err)
		}
	})
	if err := Call(t.Context(), path, "echo", "x", nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func frame(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{"", "\x00", frame(`{"verb":"status"}`), frame(`{"verb":"x","args":{"a":[1,null]}}`), "\xff\xff\xff\xff{}", frame("[]"), frame(`{"verb":""}`)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		req, err := ReadRequest(bytes.NewReader(in))
		if err != nil {
			return
		}
		if req.Verb == "" || len(req.Args) > MaxRequest {
			t.Fatalf("took %+v", req)
		}
		var out bytes.Buffer
		if err := writeFrame(&out, 2*MaxRequest, req); err != nil {
			t.Fatal(err)
		}
		again, err := ReadRequest(&out)
		if err != nil || again.Verb != req.Verb {
			t.Fatalf("no round trip: %+v, %v", again, err)
		}
	})
}
