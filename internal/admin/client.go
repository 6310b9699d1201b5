package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// callTimeout bounds a call whose context has no deadline.
const callTimeout = 2 * time.Minute

// Call asks the bot at path for verb and unmarshals what it answers into
// result, which may be nil. Errors: ErrNotRunning, fs.ErrPermission, *Error for
// what the bot said, or those of the connection. A result that came beside an
// *Error is unmarshalled too.
func Call(ctx context.Context, path, verb string, args, result any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s", ErrNotRunning, path)
	case err != nil:
		return fmt.Errorf("admin: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	req := Request{Verb: verb}
	if args != nil {
		if req.Args, err = json.Marshal(args); err != nil {
			return fmt.Errorf("admin: encode: %w", err)
		}
	}
	if err := writeFrame(conn, MaxRequest, req); err != nil {
		return callError(ctx, err)
	}
	var resp Response
	if err := readFrame(conn, MaxResponse, &resp); err != nil {
		return callError(ctx, err)
	}
	if result != nil && len(resp.Result) > 0 {
		if err := json.Unmarshal(resp.Result, result); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	if resp.Error != "" {
		return &Error{Err: errors.New(resp.Error), Hint: resp.Hint, Code: resp.Code}
	}
	return nil
}

// callError prefers the reason why the context ended to that of the connection.
func callError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("admin: %w", context.Cause(ctx))
	}
	return fmt.Errorf("admin: the bot hung up (does it run as another user?): %w", err)
}
