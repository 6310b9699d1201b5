package config

import (
	"time"

	"drawbridge/policy"
)

// Config is a whole, checked drawbridge.yaml. Lists keep the order of the file.
// Paths are absolute or relative to the working directory, JIDs normalised and
// fingerprints upper-case hex: no reader has to do it again.
type Config struct {
	Networks []Network `yaml:"networks" cfg:"named"` // IRC connections
	Accounts []Account `yaml:"accounts" cfg:"named"` // XMPP accounts
	Keyring  Keyring   `yaml:"keyring"`
	People   []Person  `yaml:"people" cfg:"named"`
	Bridges  []Bridge  `yaml:"bridges" cfg:"named"`
	Groups   []Group   `yaml:"groups" cfg:"named"`
	Rooms    []Room    `yaml:"rooms" cfg:"named"` // what guards hold
	Rules    []Rule    `yaml:"rules" cfg:"noun=rule"`
	Safety   Safety    `yaml:"safety"`
	// Migration are the bridges on their way off IRC.
	Migration []Migration `yaml:"migration" cfg:"named"`
	Store     Store       `yaml:"store"`
	Admin     Admin       `yaml:"admin"`
	Metrics   Metrics     `yaml:"metrics"`
	Log       Log         `yaml:"log"`

	// File is the path Load was given.
	File string `yaml:"-"`
	// Warnings are doubts that do not stop a start, in the order of the file.
	Warnings []Error `yaml:"-"`

	pos map[string]Pos
}

// Network is one IRC connection.
type Network struct {
	Name string `yaml:"-"` // its key below networks
	// Server lists the addresses, HOST:PORT, tried in turn. Required.
	Server []string `yaml:"server" cfg:"one,required,addr,env"`
	// TLS is on unless the file says `tls: off`.
	TLS       TLSMode  `yaml:"tls" cfg:"oneof=on|off"`
	CAFile    string   `yaml:"ca_file" cfg:"path,pem"`   // PEM of a private authority; "": the system's
	PinSHA256 []string `yaml:"pin_sha256" cfg:"one,pin"` // leaf certificate, 64 lower-case hex digits; any of them
	// Nick, Username and Realname are what the server is told. Nick is required;
	// the others have defaults of the IRC leg.
	Nick     string `yaml:"nick" cfg:"required,nick"`
	Username string `yaml:"username" cfg:"word"`
	Realname string `yaml:"realname" cfg:"line"`
	// Password is the server password (PASS), seldom used.
	Password Secret `yaml:"password" cfg:"secret"`
	SASL     *SASL  `yaml:"sasl"` // nil: no login
	// Services is the host, or the server, that services are on. Default: they are known
	// by what the server says of them.
	Services string `yaml:"services" cfg:"word"`
}

// SASL is a login to IRC services.
type SASL struct {
	// Mechanism is scram-sha-256, plain or external. Default: external when only
	// cert_file is given, else plain (which is refused without TLS).
	Mechanism string `yaml:"mechanism" cfg:"oneof=scram-sha-256|plain|external"`
	Account   string `yaml:"account" cfg:"word"` // default: the nick; not for external
	Password  Secret `yaml:"password" cfg:"secret"`
	// CertFile is a PEM file with the client certificate and its key. The
	// certificate is shown whatever the mechanism.
	CertFile string `yaml:"cert_file" cfg:"path,keypair"`
}

// TLSMode says how a connection is protected. There is no silent downgrade
// between the modes.
type TLSMode string

// The modes. Networks know on and off, accounts starttls, direct and off.
const (
	TLSOn       TLSMode = "on"       // TLS from the first byte
	TLSStartTLS TLSMode = "starttls" // RFC 6120 §5, refused if not offered
	TLSDirect   TLSMode = "direct"   // XEP-0368
	TLSOff      TLSMode = "off"      // plain text
)

// Account is one XMPP account.
type Account struct {
	Name string `yaml:"-"` // its key below accounts
	// JID is the normalised JID, bare or with the resource the bot binds.
	// Required. The resource defaults to "drawbridge".
	JID string `yaml:"jid" cfg:"required,jid"`
	// Password logs in, by SCRAM where the server has it. Required.
	Password Secret `yaml:"password" cfg:"required,secret"`
	// AllowPlain lets the password go to the server itself, inside TLS, where it
	// offers no SCRAM (LDAP and PAM behind it).
	AllowPlain bool `yaml:"allow_plain"`
	// Server is HOST:PORT. Empty: SRV records of the JID's domain, then the
	// domain itself.
	Server string `yaml:"server" cfg:"addr,env"`
	// TLS defaults to starttls.
	TLS       TLSMode  `yaml:"tls" cfg:"oneof=starttls|direct|off"`
	CAFile    string   `yaml:"ca_file" cfg:"path,pem"`
	PinSHA256 []string `yaml:"pin_sha256" cfg:"one,pin"`
	// OpenPGP is the bot's own key on this account; nil: none.
	OpenPGP *OpenPGPKey `yaml:"openpgp"`
	// OTR is how the account speaks OTR, where a bridge of it lists the scheme. Its
	// key is made at the first start and kept in the store.
	OTR OTRAccount `yaml:"otr"`
}

// OTRAccount is OTR on one account.
type OTRAccount struct {
	// Start says when the bot asks for a session: when a contact comes online
	// (presence, the default), when there is something to say (first-message), or
	// never (peer: the contact does).
	Start string `yaml:"start" cfg:"oneof=presence|first-message|peer"`
}

// OpenPGPKey is a secret key: an export of gpg, armored or binary.
type OpenPGPKey struct {
	// Key is the whole export. Key.File names its file, if it came from one.
	Key        Secret `yaml:"key" cfg:"required,secret,key"`
	Passphrase Secret `yaml:"passphrase" cfg:"secret"`
	// Unsigned leaves the signature inside of messages out. It is there by
	// default: every client shows such messages, and it proves who wrote them.
	Unsigned bool `yaml:"unsigned"`
}

// Keyring is where other people's public keys are.
type Keyring struct {
	// Paths are .asc, .gpg and pubring.kbx files, and folders of them.
	Paths []string `yaml:"paths" cfg:"path,exists"`
	// Fetch is where keys that count already are refreshed from: "wkd", and URLs of
	// key servers with https or hkps. Empty: nowhere.
	Fetch []string `yaml:"fetch" cfg:"keysource"`
	// Authority is the fingerprint of the company's key: keys that it certified for a
	// JID of a person are that person's, verified. "": none.
	Authority string `yaml:"authority" cfg:"fpr"`
}

// Person is one human with many names.
type Person struct {
	Name string   `yaml:"-"`                           // its key below people
	JIDs []string `yaml:"jids" cfg:"barejid,noun=JID"` // the first is preferred; needed to be in a bridge
	// OpenPGP are the pinned primary-key fingerprints, 40 upper-case hex digits.
	OpenPGP []string `yaml:"openpgp" cfg:"fpr,noun=key"`
	// OTR are the pinned fingerprints of OTR keys, one for each device.
	OTR []string `yaml:"otr" cfg:"otrfpr,noun=key"`
	// OTRSecret is known to the person too: who answers the question about it (SMP)
	// has it, and their key is accepted. It is used once.
	OTRSecret Secret `yaml:"otr_secret" cfg:"secret"`
	// OTRText is how their client writes inside of OTR: html (Pidgin, Adium), literal
	// (profanity, mcabber), or auto (default): by what it is called and what it writes.
	OTRText string `yaml:"otr_text" cfg:"oneof=auto|html|literal"`
	// AllowWeakKey accepts DSA-1024, RSA-1024 and SHA-1 of this person, logged.
	AllowWeakKey bool          `yaml:"allow_weak_key"`
	Groups       []string      `yaml:"groups" cfg:"one,name,noun=group"`
	IRC          []IRCIdentity `yaml:"irc" cfg:"named"`
}

// IRCIdentity is what proves a person on one network.
type IRCIdentity struct {
	Name     string   `yaml:"-"` // a network
	Accounts []string `yaml:"accounts" cfg:"word"`
	CertFPs  []string `yaml:"certfps" cfg:"certfp"` // 40, 64 or 128 lower-case hex digits
	Hosts    []string `yaml:"hosts" cfg:"mask"`     // nick!user@host with * and ?
}

// Bridge joins rooms together.
type Bridge struct {
	Name string      `yaml:"-"` // its key below bridges
	IRC  []Channel   `yaml:"irc" cfg:"noun=channel"`
	XMPP *BridgeXMPP `yaml:"xmpp"` // nil: IRC only
	// Require is the floor of every XMPP destination; default
	// {in: sealed, out: verified}.
	Require policy.Floor `yaml:"require" cfg:"floor"`
	// Schemes in order of preference: openpgp is XEP-0027, ox XEP-0373, otr OTRv2 and v3.
	// Default openpgp alone: ox publishes the bot's key on its account.
	Schemes []string `yaml:"schemes" cfg:"oneof=openpgp|ox|otr,later"`
	// Trust says which keys are used beside those of people, of the authority and of
	// the store: pinned (default) is none, tofu the first one seen of a person.
	Trust string `yaml:"trust" cfg:"oneof=pinned|tofu"`
	// WhenBlocked bounds waiting for a usable key.
	WhenBlocked WhenBlocked `yaml:"when_blocked"`
	// Offline bounds what is kept for people who are not online.
	Offline Offline `yaml:"offline"`
	Late    Late    `yaml:"late"`
	// OnDoubt is resend (default) or skip, where nobody can be asked whether a
	// line arrived.
	OnDoubt string `yaml:"on_doubt" cfg:"oneof=resend|skip"`
	Show    Show   `yaml:"show"`
	// Announce is said once in each channel and MUC when it is first joined; ""
	// after `announce: off`. Default: DefaultAnnounce.
	Announce string `yaml:"announce" cfg:"line"`
}

// Channel is an IRC channel of a bridge.
type Channel struct {
	Network string `yaml:"network" cfg:"required"`
	Channel string `yaml:"channel" cfg:"required,channel"`
	Key     Secret `yaml:"key" cfg:"secret"`
	// Require is "clear" where the file owns up that this network has no TLS
	// though the bridge has a floor.
	Require string `yaml:"require" cfg:"oneof=clear"`
}

// BridgeXMPP is the XMPP side of a bridge.
type BridgeXMPP struct {
	Account string   `yaml:"account" cfg:"required"`
	People  []string `yaml:"people" cfg:"noun=person"`
	Rooms   []MUC    `yaml:"rooms" cfg:"noun=room"`
}

// MUC is a multi-user chat of a bridge (XEP-0045).
type MUC struct {
	Room     string `yaml:"room" cfg:"required,room"` // normalised bare JID
	Nick     string `yaml:"nick" cfg:"line"`          // default: the local part of the account's JID
	Password Secret `yaml:"password" cfg:"secret"`
	// Require is "clear" where the file owns up that the room is plain though
	// the bridge has a floor.
	Require string `yaml:"require" cfg:"oneof=clear"`
}

// WhenBlocked says how long a line waits for a usable key, and what then.
type WhenBlocked struct {
	Hold time.Duration `yaml:"hold" cfg:"min=0s,max=720h"` // default 24h
	Then string        `yaml:"then" cfg:"oneof=bounce"`    // default bounce
}

// Offline bounds the lines kept for a person who is not online.
type Offline struct {
	Keep  time.Duration `yaml:"keep" cfg:"min=0s,max=720h"`   // default 24h
	Lines int           `yaml:"lines" cfg:"min=0,max=100000"` // default 200
}

// Late marks lines that waited.
type Late struct {
	After  time.Duration `yaml:"after" cfg:"min=1s,max=720h"`   // default 5m
	Digest int           `yaml:"digest" cfg:"min=1,max=100000"` // more late lines than this come as one digest; default 20
}

// Show says how lines are shown on the other side.
type Show struct {
	// IRC is the template for channels, XMPP for people and MUCs, with {name},
	// {origin} and {text}; "" for the core's default, "<{name}@{origin}> {text}".
	IRC   string `yaml:"irc" cfg:"template"`
	XMPP  string `yaml:"xmpp" cfg:"template"`
	Joins string `yaml:"joins" cfg:"oneof=off|digest"` // default off
}

// Store is where messages wait until they are delivered, and what was seen is
// remembered.
type Store struct {
	// Path is a folder of its own. Default: $STATE_DIRECTORY, else the folder store
	// beside the file.
	Path string `yaml:"path" cfg:"path,env"`
	// Memory keeps everything in memory instead: it dies with the process.
	Memory bool `yaml:"memory"`
	// Key is key material of 32 bytes or more, Passphrase is stretched. With
	// neither, the first start makes a key file in the folder.
	Key        Secret `yaml:"key" cfg:"secret,key"`
	Passphrase Secret `yaml:"passphrase" cfg:"secret"`
	Retain     Retain `yaml:"retain"`
	// Queue is how many lines may wait for one destination. Default 50 000.
	Queue int `yaml:"queue" cfg:"min=100,max=10000000"`
}

// Retain says how long the store remembers.
type Retain struct {
	// IDs are those of messages, to know what comes again. Default 30 days.
	IDs time.Duration `yaml:"ids" cfg:"min=24h,max=8760h"`
	// Audit are the acts of the guard. Default one year.
	Audit time.Duration `yaml:"audit" cfg:"min=24h,max=87600h"`
}

// MinStoreKey is the least length of Store.Key in bytes.
const MinStoreKey = 32

// Admin says who may command the running bot.
type Admin struct {
	People []string `yaml:"people" cfg:"noun=person"` // told of expiring keys and of trouble, and may give orders
	// AtLeast is how well an admin's chat must prove who they are before it may give
	// orders: key (default) by a verified key in each message, jid by an encrypted one
	// of their JID.
	AtLeast string `yaml:"at_least" cfg:"oneof=jid|key"`
	// Socket is the admin socket. Default: admin.sock in $RUNTIME_DIRECTORY,
	// else in $XDG_RUNTIME_DIR/drawbridge, else in /run/drawbridge.
	Socket string `yaml:"socket" cfg:"path,env"`
}

// Metrics is the HTTP listener for /metrics, /healthz and /readyz.
type Metrics struct {
	Listen string `yaml:"listen" cfg:"listen,env"` // HOST:PORT; "": none
}

// Log says what is logged, to standard error. Message text never is.
type Log struct {
	Level  string `yaml:"level" cfg:"oneof=debug|info|warn|error,env"` // default info
	Format string `yaml:"format" cfg:"oneof=text|json,env"`            // default text
}

// Network returns the network with the given name, nil if there is none.
func (c *Config) Network(name string) *Network { return find(c.Networks, name, networkName) }

// Account returns the account with the given name, nil if there is none.
func (c *Config) Account(name string) *Account { return find(c.Accounts, name, accountName) }

// Person returns the person with the given name, nil if there is none.
func (c *Config) Person(name string) *Person { return find(c.People, name, personName) }

func networkName(n *Network) string { return n.Name }
func accountName(a *Account) string { return a.Name }
func personName(p *Person) string   { return p.Name }

func find[T any](list []T, name string, nameOf func(*T) string) *T {
	for i := range list {
		if nameOf(&list[i]) == name {
			return &list[i]
		}
	}
	return nil
}

// Policy returns the person as the core and the schemes know them.
func (p *Person) Policy() *policy.Person {
	out := &policy.Person{Name: p.Name, JIDs: p.JIDs, OpenPGP: p.OpenPGP, OTR: p.OTR, AllowWeakKey: p.AllowWeakKey, Groups: p.Groups}
	if len(p.IRC) > 0 {
		out.IRC = make(map[string]policy.IRCIdentity, len(p.IRC))
		for _, id := range p.IRC {
			out.IRC[id.Name] = policy.IRCIdentity{Accounts: id.Accounts, CertFPs: id.CertFPs, Hosts: id.Hosts}
		}
	}
	return out
}
