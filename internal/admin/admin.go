// Package admin is the socket by which `drawbridge status`, `reload` and later
// verbs speak to the running bot: a Unix socket (0600) on which only the bot's
// own user and root are heard. One connection carries one request and one
// response, each a length (4 bytes, big endian) and that many bytes of JSON.
package admin

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The bounds of the protocol, in bytes of JSON.
const (
	MaxRequest  = 64 << 10
	MaxResponse = 16 << 20
)

// What a caller branches on.
var (
	// ErrTooLarge: a frame beyond its bound; nothing of it was kept.
	ErrTooLarge = errors.New("admin: message too large")
	// ErrMalformed: a frame that holds no request or response.
	ErrMalformed = errors.New("admin: malformed message")
	// ErrNotRunning: nobody listens at the socket.
	ErrNotRunning = errors.New("no bot is running")
	// ErrRunning: another instance listens at the socket already.
	ErrRunning = errors.New("a bot is running already")
	// ErrDenied: the peer is neither root nor the bot's user.
	ErrDenied = errors.New("admin: permission denied")
)

// Request asks for one row of the table.
type Request struct {
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Response answers it. Error is empty when all went well; Hint says what to do
// about it, and Code is the exit code the asking verb should end with.
type Response struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Hint   string          `json:"hint,omitempty"`
	Code   int             `json:"code,omitempty"`
}

// Need is what a row asks of its caller, beyond being the bot's user or root.
type Need uint8

// The needs.
const (
	Look   Need = iota // reads only
	Change             // changes the bot: logged with the caller's uid
)

// Row is one verb of the socket.
type Row struct {
	Verb  string
	Needs Need
	// Timeout bounds Handle; zero means 30 s.
	Timeout time.Duration
	// Handle answers one request. What it returns is marshalled as the result;
	// an *Error chooses hint and code. It may be called concurrently.
	Handle func(ctx context.Context, args json.RawMessage) (any, error)
}

// Error is an error with a hint and an exit code for the asking verb.
type Error struct {
	Err  error
	Hint string
	Code int
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ReadRequest reads one request of at most MaxRequest bytes. Errors:
// ErrTooLarge, ErrMalformed, or those of r.
func ReadRequest(r io.Reader) (Request, error) {
	var req Request
	if err := readFrame(r, MaxRequest, &req); err != nil {
		return Request{}, err
	}
	if req.Verb == "" {
		return Request{}, fmt.Errorf("%w: no verb", ErrMalformed)
	}
	return req, nil
}

func readFrame(r io.Reader, limit uint32, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > limit {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	// Not make([]byte, n): a header alone must not cost memory.
	data, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if uint32(len(data)) < n {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// writeFrame writes v in one Write.
func writeFrame(w io.Writer, limit int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("admin: encode: %w", err)
	}
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(data)), uint32(len(data)))
	_, err = w.Write(append(frame, data...))
	return err
}
