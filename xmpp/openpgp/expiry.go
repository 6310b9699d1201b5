package openpgp

import (
	"time"

	"drawbridge/policy"
)

// Expiry says when a key stops being of use.
type Expiry struct {
	Person      string // config name; "" for the bot's own key
	Fingerprint string // of the primary key
	Key         string // fingerprint of the key or subkey that expires
	Use         string // what stops then: "encryption" or "signing"
	At          time.Time
}

// Expiries returns when nobody can seal to the people's pinned keys any more,
// for each key in the keyring that expires at all.
func (k *Keyring) Expiries(people []*policy.Person, now time.Time) []Expiry {
	s := k.snap.Load()
	var out []Expiry
	for _, p := range people {
		for _, fpr := range p.OpenPGP {
			c := s.certs[fpr]
			if c == nil {
				continue
			}
			if at, key := c.view(p.AllowWeakKey).encryptsUntil(now); !at.IsZero() {
				out = append(out, Expiry{p.Name, fpr, key, "encryption", at})
			}
		}
	}
	return out
}

// Expiries returns when the bot's own key stops being of use: from then on
// contacts' clients cannot seal to it (some go on in clear), or it cannot sign.
func (s *Secret) Expiries(now time.Time) []Expiry {
	var out []Expiry
	if at, key := s.own.encryptsUntil(now); !at.IsZero() {
		out = append(out, Expiry{"", s.Fingerprint(), key, "encryption", at})
	}
	if at, key := s.own.signsUntil(now); !at.IsZero() {
		out = append(out, Expiry{"", s.Fingerprint(), key, "signing", at})
	}
	return out
}
