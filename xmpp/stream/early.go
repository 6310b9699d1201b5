package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"drawbridge/xmpp/element"
)

// ErrClear is returned by DialEarly where the config says NoTLS: what is done before the
// login is done with a server that is known, or not at all.
var ErrClear = errors.New("xmpp stream: not without TLS")

// Early is a stream before its login: for making an account (XEP-0077). It has one
// user at a time.
type Early struct {
	n        *negotiation
	features *element.Element
	stop     func() bool
}

// DialEarly connects and does TLS, and leaves it at that. ctx bounds the whole life of
// what it returns. Of c, Password and what is about sessions are not used. Errors are
// those of Dial before the login, and ErrClear.
func DialEarly(ctx context.Context, c Config) (*Early, error) {
	if c.TLS.Mode == NoTLS {
		return nil, ErrClear
	}
	c = c.withDefaults()
	e, err := dialEarly(ctx, c)
	var moved *StreamError
	if errors.As(err, &moved) && moved.Condition == "see-other-host" && moved.Host != "" {
		c.Server = withPort(moved.Host)
		e, err = dialEarly(ctx, c)
	}
	return e, err
}

func dialEarly(ctx context.Context, c Config) (*Early, error) {
	first, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, secure, err := connect(first, c, "")
	if err != nil {
		return nil, explain(err)
	}
	n := &negotiation{c: c, conn: conn, secure: secure}
	e := &Early{n: n}
	opening := context.AfterFunc(first, func() { _ = conn.Close() })
	e.features, err = n.secured(ctx)
	if !opening() && err == nil {
		err = first.Err()
	}
	if err != nil {
		_ = n.conn.Close()
		if first.Err() != nil {
			err = fmt.Errorf("%w while %s", context.Cause(first), n.doing)
		}
		return nil, explain(err)
	}
	e.stop = context.AfterFunc(ctx, func() { _ = n.conn.Close() })
	return e, nil
}

// Offers reports whether the server lists a feature.
func (e *Early) Offers(space, local string) bool { return e.features.Child(space, local) != nil }

// IQ asks the server itself, and returns the answer: a result, or an error that the
// caller reads. The error is the stream's.
func (e *Early) IQ(iq *element.Element) (*element.Element, error) {
	_ = e.n.conn.SetDeadline(time.Now().Add(e.n.c.Timeout)) // fails on a closed connection only
	if err := e.n.write(iq); err != nil {
		return nil, explain(err)
	}
	for range maxEarly {
		answer, err := e.n.read()
		if err != nil {
			return nil, explain(err)
		}
		typ := answer.Get("type")
		if answer.Is(nsClient, "iq") && answer.Get("id") == iq.Get("id") && (typ == "result" || typ == "error") {
			return answer, nil
		}
	}
	return nil, fmt.Errorf("xmpp stream: the server does not answer what it is asked")
}

// Close says goodbye and closes the connection.
func (e *Early) Close() {
	e.stop()
	_ = e.n.conn.SetDeadline(time.Now().Add(goodbye))
	_, _ = io.WriteString(e.n.conn, "</stream:stream>") // a courtesy
	_ = e.n.conn.Close()
}
