package irc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/dialer"
)

// Config describes one IRC network. Zero fields mean the stated default.
type Config struct {
	Name    string   // the network's name in the config; required
	Servers []string // host:port, tried in turn; required

	// TLSOff speaks plain text. It is the only way to do so.
	TLSOff    bool
	CAFile    string   // PEM file of the private CA that signs the server; default: the system's
	PinSHA256 []string // hex SHA-256 of the server's certificate; any one of them must match
	CertFile  string   // PEM client certificate, for SASL EXTERNAL and CertFP
	KeyFile   string   // its key; default: CertFile
	// ServerName is the name the certificate must bear; default: the host dialled.
	ServerName string

	Nick     string // required
	User     string // default: the nick's letters and digits, or "bridge"
	Realname string // default: the nick
	Password string // server password (PASS)

	SASL     SASLConfig
	Channels []ChannelConfig
	// Services is the host, or the server, that services are on. Default: they are known
	// by what the server says of them.
	Services string

	// Version answers CTCP VERSION; default "Drawbridge".
	Version string
	// QuitMessage is said at the end of Run; default "bye".
	QuitMessage string

	// Keepalive is how long the line may be idle before a PING; default 30 s.
	// A PING that is not answered for as long again ends the connection.
	Keepalive time.Duration
	// RegisterTimeout bounds dialling to the end of registration; default 60 s,
	// for servers that wait for ident and DNS.
	RegisterTimeout time.Duration
}

// ChannelConfig is one channel to be in.
type ChannelConfig struct {
	Name string // as configured; Room makes its bridge.Room
	Key  string // channel key (+k)
}

// The SASL mechanisms, as the config names them.
const (
	SASLNone        = ""
	SASLPlain       = "plain"
	SASLExternal    = "external"
	SASLScramSHA256 = "scram-sha-256"
)

// SASLConfig is the login to the network's services.
type SASLConfig struct {
	Mechanism string // one of the SASL constants
	Account   string // default: Nick; not used by EXTERNAL, where the certificate says it
	Password  string
}

// Deps are what a leg takes from outside. Zero fields mean the real thing.
type Deps struct {
	Log *slog.Logger
	// Dial opens the TCP connection; TLS comes on top of it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Now  func() time.Time
	// Rand returns a number in [0,1), for jitter.
	Rand func() float64
	// Cursors keeps where each channel was left, and STS policies, over restarts;
	// nil keeps them as long as the leg lives.
	Cursors bridge.Cursors
}

// Errors of a Config.
var (
	ErrConfig      = errors.New("irc: bad configuration")
	ErrPlainSASL   = errors.New("irc: sasl sends a password and needs TLS")
	ErrDupeChannel = errors.New("irc: channel configured twice")
	errSecondRun   = errors.New("irc: Run was called twice")
	errNameChanged = errors.New("irc: the name of a leg cannot change")
)

// withDefaults returns c with its zero fields filled, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name == "":
		return c, fmt.Errorf("%w: no name", ErrConfig)
	case len(c.Servers) == 0:
		return c, fmt.Errorf("%w: %s: no server", ErrConfig, c.Name)
	case !cleanWord(c.Nick) || c.Nick[0] == ':':
		return c, fmt.Errorf("%w: %s: not a nick: %q", ErrConfig, c.Name, c.Nick)
	}
	for _, s := range c.Servers {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return c, fmt.Errorf("%w: %s: server %q is not host:port", ErrConfig, c.Name, s)
		}
	}
	if !cleanWord(c.user()) {
		return c, fmt.Errorf("%w: %s: not a user name: %q", ErrConfig, c.Name, c.User)
	}
	setDefault(&c.Version, "Drawbridge")
	setDefault(&c.QuitMessage, "bye")
	setDefault(&c.Keepalive, 30*time.Second)
	setDefault(&c.RegisterTimeout, 60*time.Second)
	c.Realname, c.QuitMessage, c.Version = oneLine(c.Realname), oneLine(c.QuitMessage), oneLine(c.Version)
	if c.Password != oneLine(c.Password) {
		return c, fmt.Errorf("%w: %s: the server password holds a line break", ErrConfig, c.Name)
	}
	if err := c.checkSASL(); err != nil {
		return c, err
	}
	return c.checkChannels()
}

func (c *Config) checkSASL() error {
	switch c.SASL.Mechanism {
	case SASLNone:
		return nil
	case SASLExternal:
		if c.TLSOff || c.CertFile == "" {
			return fmt.Errorf("%w: %s: sasl external needs TLS and a client certificate", ErrConfig, c.Name)
		}
		return nil
	case SASLPlain, SASLScramSHA256:
		if c.SASL.Mechanism == SASLPlain && c.TLSOff {
			return fmt.Errorf("%w: %s", ErrPlainSASL, c.Name)
		}
		if c.SASL.Password == "" {
			return fmt.Errorf("%w: %s: sasl %s needs a password", ErrConfig, c.Name, c.SASL.Mechanism)
		}
		return nil
	default:
		return fmt.Errorf("%w: %s: unknown sasl mechanism %q", ErrConfig, c.Name, c.SASL.Mechanism)
	}
}

func (c Config) checkChannels() (Config, error) {
	seen := make(map[string]bool, len(c.Channels))
	c.Channels = slices.Clone(c.Channels)
	for _, ch := range c.Channels {
		if !cleanWord(ch.Name) || strings.ContainsRune(ch.Name, ',') || !strings.ContainsRune("#&+!", rune(ch.Name[0])) {
			return c, fmt.Errorf("%w: %s: not a channel: %q", ErrConfig, c.Name, ch.Name)
		}
		if ch.Key != "" && (!cleanWord(ch.Key) || strings.ContainsRune(ch.Key, ',') || ch.Key[0] == ':') {
			return c, fmt.Errorf("%w: %s: the key of %s holds a blank, a comma or a control character", ErrConfig, c.Name, ch.Name)
		}
		if seen[roomName(ch.Name)] {
			return c, fmt.Errorf("%w: %s %s", ErrDupeChannel, c.Name, ch.Name)
		}
		seen[roomName(ch.Name)] = true
	}
	return c, nil
}

// sameConnection reports whether b can be applied to a connection made for c.
func (c Config) sameConnection(b Config) bool {
	return slices.Equal(c.Servers, b.Servers) && c.TLSOff == b.TLSOff && c.CAFile == b.CAFile &&
		slices.Equal(c.PinSHA256, b.PinSHA256) && c.CertFile == b.CertFile && c.KeyFile == b.KeyFile &&
		c.ServerName == b.ServerName && c.User == b.User && c.Realname == b.Realname &&
		c.Password == b.Password && c.SASL == b.SASL && c.Services == b.Services
}

func (c Config) tls() dialer.TLS {
	return dialer.TLS{CAFile: c.CAFile, PinSHA256: c.PinSHA256, CertFile: c.CertFile, KeyFile: c.KeyFile, ServerName: c.ServerName}
}

func (d Deps) withDefaults() Deps {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Dial == nil {
		d.Dial = (&net.Dialer{Timeout: 20 * time.Second}).DialContext
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.Float64
	}
	return d
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// cleanWord reports whether s can be a middle parameter: not empty, no blanks
// or control characters.
func cleanWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// oneLine replaces what would end a line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, s)
}

// user, realname and account have defaults that follow the nick. They are not
// filled in, for a new nick alone needs no new connection.
func (c *Config) user() string {
	if c.User == "" {
		return defaultUser(c.Nick)
	}
	return c.User
}

func (c *Config) realname() string {
	if c.Realname == "" {
		return c.Nick
	}
	return c.Realname
}

func (c *Config) account() string {
	if c.SASL.Account == "" {
		return c.Nick
	}
	return c.SASL.Account
}

func defaultUser(nick string) string {
	u := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, nick)
	if u == "" {
		return "bridge"
	}
	return u[:min(len(u), 9)]
}
