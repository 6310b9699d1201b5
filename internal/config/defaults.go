package config

import (
	"path/filepath"
	"strings"
	"time"

	"drawbridge/policy"
)

// DefaultAnnounce is what a channel is told once if the file says nothing.
const DefaultAnnounce = "This channel is joined to Jabber: what is said here is also read there, and the other way round. !help tells more."

// defaultFloor is what a bridge requires if the file says nothing: nothing comes
// in unencrypted, nothing goes out but to a pinned key.
var defaultFloor = policy.Floor{In: policy.Sealed, Out: policy.Verified}

// complete fills in the defaults.
func (d *decoder) complete(c *Config) {
	for i := range c.Networks {
		n := &c.Networks[i]
		setDefault(&n.TLS, TLSOn)
		if n.SASL != nil && n.SASL.Mechanism == "" && !d.broken["networks."+n.Name+".sasl.mechanism"] {
			n.SASL.Mechanism = "plain"
			if n.SASL.CertFile != "" && !n.SASL.Password.Set() {
				n.SASL.Mechanism = "external"
			}
		}
		if n.SASL != nil && n.SASL.Mechanism != "external" {
			setDefault(&n.SASL.Account, n.Nick)
		}
	}
	for i := range c.Accounts {
		setDefault(&c.Accounts[i].TLS, TLSStartTLS)
	}
	for i := range c.Bridges {
		d.completeBridge(&c.Bridges[i])
	}
	d.completeGuard(c)
	d.completeMigration(c)
	if c.Store.Path == "" && !c.Store.Memory {
		c.Store.Path = d.defaultStore()
	}
	setDefault(&c.Store.Retain.IDs, 30*24*time.Hour)
	setDefault(&c.Store.Retain.Audit, 365*24*time.Hour)
	setDefault(&c.Store.Queue, 50_000)
	setDefault(&c.Admin.AtLeast, "key")
	if c.Admin.Socket == "" {
		c.Admin.Socket = d.defaultSocket()
	}
	setDefault(&c.Log.Level, "info")
	setDefault(&c.Log.Format, "text")
}

func (d *decoder) completeBridge(b *Bridge) {
	path := "bridges." + b.Name
	absent := func(key string) bool { _, ok := d.pos[path+"."+key]; return !ok }
	if absent("require") {
		b.Require = defaultFloor
	}
	if absent("schemes") {
		b.Schemes = []string{"openpgp"}
	}
	setDefault(&b.Trust, "pinned")
	setDefault(&b.WhenBlocked.Then, "bounce")
	if absent("when_blocked.hold") { // 0 is a choice: to wait for nothing
		b.WhenBlocked.Hold = 24 * time.Hour
	}
	if absent("offline.keep") {
		b.Offline.Keep = 24 * time.Hour
	}
	if absent("offline.lines") {
		b.Offline.Lines = 200
	}
	setDefault(&b.Late.After, 5*time.Minute)
	setDefault(&b.Late.Digest, 20)
	setDefault(&b.OnDoubt, "resend")
	setDefault(&b.Show.Joins, "off")
	switch b.Announce {
	case "":
		if absent("announce") {
			b.Announce = DefaultAnnounce
		}
	case "off":
		b.Announce = ""
	}
}

// defaultStore is where systemd keeps state, or beside the file.
func (d *decoder) defaultStore() string {
	if dir, _, _ := strings.Cut(d.env["STATE_DIRECTORY"], ":"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(filepath.Dir(d.file), "store")
}

// defaultSocket is where systemd, a login session or root keep sockets.
func (d *decoder) defaultSocket() string {
	if dir := d.env["RUNTIME_DIRECTORY"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "admin.sock")
	}
	if dir := d.env["XDG_RUNTIME_DIR"]; filepath.IsAbs(dir) {
		return filepath.Join(dir, "drawbridge", "admin.sock")
	}
	return "/run/drawbridge/admin.sock"
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
