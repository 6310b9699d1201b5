package stream

import (
	"context"
	"log/slog"
	"net"
	"time"

	"mellium.im/xmpp/jid"

	"drawbridge/internal/dialer"
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

// TLS says how the connection is encrypted and the server checked: always
// against the domain of the JID (RFC 6120 §13.7.2), whatever Config.Server is.
type TLS struct {
	// Mode is StartTLS if not set. With DirectTLS and no Config.Server, the domain
	// is dialled on port 5223.
	Mode TLSMode
	// CAFile is a PEM file of the only authorities to trust; "" means the
	// system's.
	CAFile string
	// Pins are SHA-256 sums of the server's own certificate in hex, colons
	// allowed; one of them must match. Without CAFile they take the place of the
	// authority and of the name, with it both must hold.
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
	// Resume is what an earlier stream left (Stream.Resumption). Its session is
	// resumed if the server still has it; else see Stream.Leftover.
	Resume *Resumption
	// MaxStanza is the largest stanza taken in, in bytes; default 256 KiB.
	MaxStanza int
	// WriteTimeout ends the stream when one write takes longer; default 20 s.
	WriteTimeout time.Duration
	// OnAck is told how many of our stanzas of this stream the server has handled
	// (XEP-0198), at each acknowledgement, also where the count is the old one: the
	// server is alive. It is called from Next and must not block.
	OnAck func(n uint64)
	// OnIdle is called from Next when all that has come is handed out, before it
	// waits for more: what was put off until then can be done for many stanzas at
	// once. It must not block.
	OnIdle func()
	// OnBindingRefused is told, during Dial, that the server offered channel binding
	// and refused it (ejabberd 23.01 on TLS 1.3): the next Dial can do without,
	// before the server counts failed logins and bans us.
	OnBindingRefused func()
	// Log gets the few things an operator should know; default: none.
	Log *slog.Logger
	// Timeout bounds Dial; default 60 s.
	Timeout time.Duration
	// Dial opens TCP connections; default net.Dialer with 10 s for each address.
	Dial dialer.DialFunc
	// LookupSRV finds servers; default net.DefaultResolver's.
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

func (c Config) withDefaults() Config {
	if c.ChannelBinding == "" {
		c.ChannelBinding = BindingAuto
	}
	if c.MaxStanza <= 0 {
		c.MaxStanza = 256 << 10
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 20 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 60 * time.Second
	}
	if c.OnAck == nil {
		c.OnAck = func(uint64) {}
	}
	if c.OnIdle == nil {
		c.OnIdle = func() {}
	}
	if c.OnBindingRefused == nil {
		c.OnBindingRefused = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if c.LookupSRV == nil {
		c.LookupSRV = net.DefaultResolver.LookupSRV
	}
	return c
}
