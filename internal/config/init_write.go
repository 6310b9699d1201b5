package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// write makes the files of a, the configuration last, and checks it as Load does.
func (in *Init) write(w *Files, a *Answers, opt Options) (*Made, error) {
	made := &Made{Config: in.Path, KeysDir: filepath.Join(w.dir, "keys")}
	for _, d := range []string{"secrets", "keys"} {
		if err := w.Folder(d); err != nil {
			return nil, err
		}
	}
	secret := func(p *Password, name string) error {
		if p.File != "" || !p.Text.Set() {
			return nil
		}
		p.File = "secrets/" + name
		return w.Secret(p.File, p.Text)
	}
	if err := errors.Join(secret(&a.IRCSecret, "irc"), secret(&a.XMPPSecret, "xmpp"), secret(&a.Passphrase, "passphrase")); err != nil {
		return nil, err
	}
	if a.Key == KeyGenerate {
		bare, _, _ := strings.Cut(a.JID, "/")
		key, fpr, err := in.Generate(bare)
		if err != nil {
			return nil, fmt.Errorf("init: make a key: %w", err)
		}
		a.Key, made.Fingerprint = "secrets/bot.asc", fpr
		if err := w.File(a.Key, key); err != nil {
			return nil, err
		}
	}
	for _, p := range []*string{&a.Key, &a.IRCSecret.File, &a.XMPPSecret.File, &a.Passphrase.File} {
		if err := w.settlePath(p); err != nil {
			return nil, err
		}
	}
	if err := w.File(filepath.Base(in.Path), []byte(Render(*a))); err != nil {
		return nil, err
	}
	if _, err := Load(in.Path, opt); err != nil {
		return nil, fmt.Errorf("init: what was written does not pass, and was removed: %w", err)
	}
	made.Files = w.Made()
	return made, nil
}

// settlePath turns a path that is relative to the working directory into one
// that is relative to the config, as Load reads it.
func (w *Files) settlePath(p *string) error {
	if *p == "" || filepath.IsAbs(*p) || slices.Contains(w.made, filepath.Join(w.dir, *p)) {
		return nil
	}
	abs, err := filepath.Abs(*p)
	*p = abs
	return err
}

// Render writes good answers as a configuration.
func Render(a Answers) string {
	var b strings.Builder
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	p("# Drawbridge: %s on IRC and GPG-encrypted Jabber contacts are one room.", oneWord(a.Channel))
	p("# All keys and their meaning: config.example.yaml. After a change: drawbridge check, then drawbridge reload.")
	p("")
	p("networks:                # one IRC connection each")
	p("  irc:")
	p("    server: %s   # TLS, checked; ca_file or pin_sha256 for a private certificate", scalar(a.Server))
	p("    nick: %s", scalar(a.Nick))
	if a.IRCAccount != "" {
		p("    sasl: {mechanism: plain, account: %s, password_file: %s}", scalar(a.IRCAccount), scalar(a.IRCSecret.File))
	}
	p("")
	p("accounts:                # one Jabber account each")
	p("  jabber:")
	p("    jid: %s", scalar(a.JID))
	p("    password_file: %s", scalar(a.XMPPSecret.File))
	p("    openpgp:")
	p("      key_file: %s", scalar(a.Key))
	if a.Passphrase.File != "" {
		p("      passphrase_file: %s", scalar(a.Passphrase.File))
	}
	p("")
	p("keyring:")
	p("  paths: [keys]          # people's public keys: drawbridge keys import FILE")
	p("")
	p("people:")
	names := personNames(a.People)
	for i, who := range a.People {
		p("  %s: {jids: [%s], openpgp: [%s]}", names[i], scalar(who.JID), scalar(who.Fingerprint))
	}
	bridge := nameFrom(strings.Trim(a.Channel, "#&+!"), "dev")
	p("")
	p("bridges:")
	p("  %s:", bridge)
	p("    irc: [{network: irc, channel: %s}]", strconv.Quote(a.Channel))
	p("    xmpp: {account: jabber, people: [%s]}", strings.Join(names, ", "))
	p("    require: {in: sealed, out: verified}   # nothing unencrypted in, only pinned keys out")
	return b.String()
}

// personNames makes config names of JIDs, each different.
func personNames(people []PersonAnswer) []string {
	var out []string
	used := map[string]bool{}
	for _, p := range people {
		local, _, _ := strings.Cut(p.JID, "@")
		name := Name(local, "person", func(name string) bool { return used[envName(name)] })
		used[envName(name)] = true
		out = append(out, name)
	}
	return out
}

var notName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// nameFrom makes a name of s, else takes the other.
func nameFrom(s, other string) string {
	s = strings.Trim(notName.ReplaceAllString(s, "-"), "-_")
	s = s[:min(len(s), 48)]
	if !goodName(s) || slices.Contains([]string{"on", "off", "yes", "no", "true", "false", "null", "y", "n"}, strings.ToLower(s)) {
		return other
	}
	return s
}

// plainScalar is what needs no quotes, wherever it stands.
var plainScalar = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9._@/-]*[A-Za-z0-9](:[0-9]+)?$`)

// scalar writes a value for YAML.
func scalar(s string) string {
	if plainScalar.MatchString(s) && nameFrom(s, "") != "" {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// oneWord makes a value harmless in a comment.
func oneWord(s string) string { return strings.Trim(strconv.QuoteToASCII(s), `"`) }
