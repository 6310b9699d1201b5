package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// laterKeys are keys of later versions, by key path with * for a name. They are
// refused, never ignored: who writes one counts on what it does.
var laterKeys = map[string]string{
	"rules[].when": "typed conditions below if: are what there is",
}

// laterWords are values of later versions, by the last key of their path.
var laterWords = map[string]string{
	"omemo": "openpgp, ox and otr are the schemes",
}

var inList = regexp.MustCompile(`\[[0-9]+\]`)

func laterKey(path string) (string, bool) {
	path = inList.ReplaceAllString(path, "[]")
	if why, ok := laterKeys[path]; ok {
		return why, true
	}
	parts := strings.Split(path, ".")
	if len(parts) == 3 {
		parts[1] = "*"
	}
	why, ok := laterKeys[strings.Join(parts, ".")]
	return why, ok
}

// otherWords are what other bridges, clients and habit call a key, and its name
// here.
var otherWords = map[string]string{
	"gpg": "openpgp", "pgp": "openpgp", "gateway": "bridges", "gateways": "bridges", "links": "bridges",
	"contacts": "people", "members": "people", "users": "people", "irc": "networks", "xmpp": "accounts",
	"jabber": "accounts", "servers": "server", "host": "server", "address": "server", "muc": "rooms",
	"mucs": "rooms", "jid": "jids", "jids": "jid", "channels": "channel", "pass": "password",
	"user": "username", "ca": "ca_file", "pin": "pin_sha256", "cert": "cert_file",
	"nickserv": "sasl", "nickservpassword": "sasl", "keys": "paths", "dirs": "paths", "logging": "log",
	"floor": "require", "policy": "require", "fingerprint": "openpgp", "fingerprints": "openpgp",
	"remotenickformat": "show", "format": "show", "login": "account",
	"storage": "store", "database": "store", "db": "store", "journal": "store", "state": "store",
}

// wrongWord returns the way out for keys that people bring from elsewhere.
func wrongWord(key string, known []string) (string, bool) {
	low := strings.ToLower(key)
	flat := strings.NewReplacer("_", "", "-", "").Replace(low)
	switch flat {
	case "port":
		return "write server: HOST:PORT", true
	case "usetls", "ssl", "usessl", "nossl", "notls":
		return "TLS is on; `tls: off` is the only way to plain text", true
	case "skiptlsverify", "insecure", "verify", "skipverify", "tlsverify", "insecureskipverify":
		return "certificates are always checked; ca_file or pin_sha256 make a private one trusted", true
	}
	if slices.Contains(known, low) {
		return fmt.Sprintf("did you mean %q?", low), true
	}
	w, ok := otherWords[flat]
	if !ok && len(flat) > 8 { // long words only: short ones are near to everything
		if near, like := nearest(flat, sortedKeys(otherWords)); like {
			w, ok = otherWords[near], true
		}
	}
	if ok && slices.Contains(known, w) {
		return fmt.Sprintf("did you mean %q?", w), true
	}
	return "", false
}
