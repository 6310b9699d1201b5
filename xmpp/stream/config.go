package stream

import (
	"context"
	"log/slog"
	"net"
	"time"

	"mellium.im/xmpp/jid"
)

// TLSMode says how a stream is encrypted. There is no opportunistic mode: what
// is asked for happens, or Dial fails.
type TLSMode int

// The modes of TLS.
const (
	// StartTLS upgrades the stream (RFC 6120 §5). With SRV discovery, records for
	// direct TLS are used as well (XEP-0368).
	StartTLS TLSMode = iota
	// DirectTLS does the handshake before the stream (XEP-0368).
	DirectTLS
	// NoTLS speaks in clear. For tests on loopback only.
	NoTLS
)

// How SASL binds to the TLS connection (RFC 5802 §6). The zero value of
// Config.ChannelBinding means BindingAuto.
const (
	BindingAuto     = "auto"     // SCRAM-*-PLUS first; one retry without if it is refused
	BindingRequired = "required" // SCRAM-*-PLUS only
	BindingOff      = "off"      // never
)

// TLS is how the server's certificate is checked. It is always checked against
// the domain of the JID (RFC 6120 §13.7.2).
type TLS struct {
	Mode TLSMode
	// CAFile is a PEM file of the only authorities to trust; "" means the
	// system's.
	CAFile string
	// Pins are SHA-256 fingerprints of the leaf certificate in hex, colons
	// allowed. If there are any, the certificate must have one of them; a pin
	// stands beside the verification of the chain, not in its place.
	Pins []string
}

// Config is what Dial needs. Zero fields have the defaults stated.
type Config struct {
	// JID is the full JID to bind: its resource is asked for and kept. Without a
	// resource the server chooses one.
	JID      jid.JID
	Password string
	// Server is host:port, or "" for SRV records, then the domain on port 5222.
	Server string
	TLS    TLS
	// ChannelBinding is one of the Binding constants; "" is BindingAuto.
	ChannelBinding string
	// AllowPlain permits SASL PLAIN where the server offers no SCRAM. Never
	// without TLS.
	AllowPlain bool
	// NoSM leaves XEP-0198 off even if it is offered.
	NoSM bool
	// MaxStanza is the largest stanza taken in, in bytes; default 256 KiB.
	MaxStanza int
	// WriteTimeout ends the stream when one write takes longer; default 20 s.
	WriteTimeout time.Duration
	// OnAck is told how many of our stanzas of this stream the server has handled
	// (XEP-0198). It is called from Next and must not block.
	OnAck func(n uint64)
	// Log gets the few things an operator should know; default: none.
	Log *slog.Logger
	// Dial opens TCP connections; default net.Dialer with a timeout of 10 s for
	// each address and keep-alives. Used for host:port only when set; SRV lookups
	// are skipped then.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}
