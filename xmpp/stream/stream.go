// Package stream is one XMPP client stream (RFC 6120): dialling, TLS, SASL, resource
// binding and stream management (XEP-0198), whole stanzas in and out. It knows
// nothing of what stanzas say.
package stream

import (
	"context"
	"errors"

	"mellium.im/xmpp/jid"

	"drawbridge/xmpp/element"
)

// Stream is a negotiated stream. Send, RequestAck, Handled and Close are safe
// for concurrent use; Next has one caller at a time.
type Stream struct {
	jid jid.JID
}

// Dial connects, logs in and binds a resource. ctx bounds that alone: once Dial
// has returned, it has no effect on the stream.
//
// Errors: *AuthError, *StreamError, ErrPin, ErrNoTLS,
// *tls.CertificateVerificationError, and network errors, wrapped.
func Dial(ctx context.Context, c Config) (*Stream, error) { return nil, errors.ErrUnsupported }

// JID returns the full JID that the server bound.
func (s *Stream) JID() jid.JID { return s.jid }

// SM reports whether the server acknowledges stanzas (XEP-0198).
func (s *Stream) SM() bool { return false }

// Next returns the next stanza, with its namespace resolved. It blocks until
// there is one or the stream ends. *TooLargeError and *MalformedError are about one
// stanza, and the next call goes on; any other error is the end of the stream.
//
// Each stanza that Next returns, and each of those two errors, is to be counted
// by a call of Handled once the leg has taken it in.
func (s *Stream) Next() (*element.Element, error) { return nil, errors.ErrUnsupported }

// Send writes stanzas in one write. It returns the number of the last one,
// counted from 1, which OnAck reports once the server has handled it. It
// returns after the write, or when Config.WriteTimeout has passed; a failed
// write ends the stream.
func (s *Stream) Send(stanzas ...*element.Element) (last uint64, err error) {
	return 0, errors.ErrUnsupported
}

// RequestAck asks the server how many stanzas it has handled; the answer comes
// by OnAck. Without XEP-0198 it does nothing.
func (s *Stream) RequestAck() error { return errors.ErrUnsupported }

// Ping writes one space (RFC 6120 §4.6.1), so that a dead connection is found.
func (s *Stream) Ping() error { return errors.ErrUnsupported }

// Handled counts n more stanzas as taken in: the server's requests are answered
// with this count (XEP-0198 §4).
func (s *Stream) Handled(n int) {}

// Close says goodbye, waits a second for the server's, and closes the
// connection. Next then returns ErrClosed.
func (s *Stream) Close() error { return nil }
