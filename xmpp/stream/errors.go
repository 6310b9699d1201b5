package stream

import (
	"errors"
	"fmt"

	"drawbridge/internal/dialer"
	"drawbridge/xmpp/element"
)

var (
	// ErrClosed is what Next and Send return after Close.
	ErrClosed = errors.New("xmpp stream: closed")
	// ErrNotSent is part of what Send returns when nothing was sent, since the
	// stream has ended.
	ErrNotSent = errors.New("xmpp stream: not sent")
	// ErrNoAnswer is to be part of the reason for Abort where the server does not
	// answer an AckRequest.
	ErrNoAnswer = errors.New("xmpp stream: the server does not answer")
	// ErrPin means that the certificate is not the pinned one. Nothing was sent to
	// that server.
	ErrPin = dialer.ErrPin
	// ErrNoTLS means that the server does not do STARTTLS.
	ErrNoTLS = errors.New("xmpp stream: the server does not offer STARTTLS")
	// ErrNoMechanism means that the server offers no login that is allowed here.
	ErrNoMechanism = errors.New("xmpp stream: no acceptable login mechanism is offered")
)

// AuthError is a refused login (RFC 6120 §6.5). Trying again at once is useless
// and may get the host banned.
type AuthError struct {
	Mechanism string
	Condition string // e.g. "not-authorized", "account-disabled"
	Text      string // what the server said, if anything
}

// Error names the condition and the server's text.
func (e *AuthError) Error() string {
	s := fmt.Sprintf("xmpp stream: login refused (%s): %s", e.Mechanism, e.Condition)
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Temporary reports whether the server said that it may work later.
func (e *AuthError) Temporary() bool { return e.Condition == "temporary-auth-failure" }

// StreamError is a <stream:error/> (RFC 6120 §4.9): from the server, or, if
// Ours is set, what we ended the stream for.
type StreamError struct {
	Condition string // e.g. "conflict", "system-shutdown", "policy-violation"
	Text      string
	Host      string // the new address of see-other-host, followed once
	Ours      bool
}

// Error names the condition and the text.
func (e *StreamError) Error() string {
	s := "xmpp stream: the server ended the stream: " + e.Condition
	if e.Ours {
		s = "xmpp stream: ended by us: " + e.Condition
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// TooLargeError is a stanza above Config.MaxStanza. It was skipped; the stream
// lives on, and the stanza counts as one to be handled.
type TooLargeError struct {
	Size int // bytes
	Max  int
	// Head is its start tag: name and attributes; nil if that was too large too.
	Head *element.Element

	head []byte
}

// Error gives both sizes.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("xmpp stream: stanza of %d bytes skipped, the limit is %d", e.Size, e.Max)
}

// MalformedError is a stanza that the element parser refused. It was skipped;
// the stream lives on, and the stanza counts as one to be handled.
type MalformedError struct {
	Err error
	// Head is its start tag: name and attributes.
	Head *element.Element
}

// Error tells what the parser found.
func (e *MalformedError) Error() string { return "xmpp stream: stanza skipped: " + e.Err.Error() }

// Unwrap returns the parser's error.
func (e *MalformedError) Unwrap() error { return e.Err }
