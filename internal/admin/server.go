package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

const (
	ioTimeout  = 5 * time.Second
	rowTimeout = 30 * time.Second
	maxConns   = 16 // beyond it connections wait in the kernel's backlog
	maxPath    = 107
)

// Server holds a socket, and answers requests at it while Serve runs.
type Server struct {
	log      *slog.Logger
	listener *net.UnixListener
	path     string
	lock     *os.File
}

// Listen takes the socket at path: a stale one is removed, a living one is
// ErrRunning. The lock file beside it is what decides, so that two instances
// started at once cannot both win.
//
// Requests that come before Serve wait.
func Listen(path string, log *slog.Logger) (*Server, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("admin: socket path is longer than %d bytes: %s", maxPath, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	ln, err := listenUnix(path)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &Server{log: log, listener: ln, path: path, lock: lock}, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("admin: lock %s: %w", path, err)
	}
	return f, nil
}

// listenUnix binds path with mode 0600 from its first moment. Only a socket is
// ever removed to make room for it.
func listenUnix(path string) (*net.UnixListener, error) {
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("admin: %s exists and is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin: stale socket: %w", err)
		}
	}
	old := syscall.Umask(0o177)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return ln, nil
}

// Path is where the socket stands.
func (s *Server) Path() string { return s.path }

// Serve answers with the handlers of rows until ctx ends, then removes the socket
// and waits for the requests under way. It panics if two rows have one verb.
func (s *Server) Serve(ctx context.Context, rows []Row) error {
	table := make(map[string]Row, len(rows))
	for _, r := range rows {
		if _, dup := table[r.Verb]; dup {
			panic("admin: two rows for " + r.Verb)
		}
		table[r.Verb] = r
	}
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		_ = s.lock.Close() // the file stays: removing it would undo the lock of who waits for it
	}()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("admin: accept: %w", err)
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.serveConn(ctx, conn, table)
		})
	}
}

// Close gives the socket up without Serve having run.
func (s *Server) Close() {
	_ = s.listener.Close()
	_ = s.lock.Close()
}

func (s *Server) serveConn(ctx context.Context, conn *net.UnixConn, rows map[string]Row) {
	defer func() { _ = conn.Close() }()
	uid, err := peerUID(conn)
	if err == nil && uid != 0 && uid != uint32(os.Geteuid()) {
		err = ErrDenied
	}
	if err != nil {
		s.log.Warn("admin request refused", "uid", uid, "err", err)
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(ioTimeout))
	req, err := ReadRequest(conn)
	var resp Response
	if err != nil {
		resp = Response{Error: err.Error(), Code: 1}
	} else {
		resp = s.answer(ctx, uid, rows, req)
	}
	w := timely{conn}
	err = writeFrame(w, MaxResponse, resp)
	if errors.Is(err, ErrTooLarge) {
		err = writeFrame(w, MaxResponse, Response{Error: err.Error(), Code: 1})
	}
	if err != nil {
		s.log.Debug("admin response not written", "err", err)
	}
}

// timely gives each write its time: what came before it, such as encoding, may have
// taken long.
type timely struct{ conn *net.UnixConn }

func (t timely) Write(b []byte) (int, error) {
	_ = t.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	return t.conn.Write(b)
}

// answer runs the row that req names; a panic in it ends the request only.
func (s *Server) answer(ctx context.Context, uid uint32, rows map[string]Row, req Request) (resp Response) {
	row, ok := rows[req.Verb]
	if !ok {
		return Response{
			Error: fmt.Sprintf("the running bot does not know %q", req.Verb), Code: 1,
			Hint: "restart it: it may be of an older version",
		}
	}
	if row.Needs == Change {
		s.log.Info("admin request", "verb", row.Verb, "uid", uid)
	}
	timeout := row.Timeout
	if timeout == 0 {
		timeout = rowTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("admin request panicked", "verb", row.Verb, "err", fmt.Sprintf("%T", p), "stack", string(debug.Stack())) // its value may hold text
			resp = Response{Error: "internal error; see the log of the bot", Code: 1}
		}
	}()
	result, err := row.Handle(ctx, req.Args)
	if err != nil {
		resp.Error, resp.Code = err.Error(), 1
		var e *Error
		if errors.As(err, &e) {
			resp.Hint = e.Hint
			if e.Code != 0 {
				resp.Code = e.Code
			}
		}
	}
	if result != nil {
		data, err := json.Marshal(result)
		if err != nil {
			return Response{Error: "admin: encode: " + err.Error(), Code: 1}
		}
		resp.Result = data
	}
	return resp
}

// peerUID asks the kernel who is at the other end (SO_PEERCRED).
func peerUID(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
