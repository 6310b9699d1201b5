package openpgp

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// Authority is the company's key, whose certifications count: keyring.authority. Its
// public key must be in the keyring. Depth is one: what it certified certifies
// nothing.
type Authority struct {
	ring *Keyring
	fpr  string
}

// Authority returns the authority with this fingerprint; "" is nobody.
func (k *Keyring) Authority(fpr string) *Authority { return &Authority{ring: k, fpr: fpr} }

// Problem says why the authority certifies nobody now: e2ee.ErrNoKey (not in the
// keyring), e2ee.ErrKeyExpired, e2ee.ErrKeyRevoked, ErrNotValid; nil if it does.
func (a *Authority) Problem(now time.Time) error {
	_, err := a.ring.snap.Load().authority(a.fpr, now)
	if err != nil {
		return &KeyError{Fingerprint: a.fpr, Err: err}
	}
	return nil
}

// Certified returns the fingerprints of the keys of which the authority has certified
// a user id that holds one of the person's JIDs, as `xmpp:JID` or as a mail address.
// Certification, authority and user id must be valid at now: what expired or was
// revoked counts no more.
func (a *Authority) Certified(p *policy.Person, now time.Time) []string {
	if a == nil || a.fpr == "" || p == nil {
		return nil
	}
	s := a.ring.snap.Load()
	ca, err := s.authority(a.fpr, now)
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range s.certifications(ca) {
		if c.valid(now) && slices.ContainsFunc(p.JIDs, c.names) && !slices.Contains(out, c.fpr) && !s.certs[c.fpr].revoked(now) {
			out = append(out, c.fpr)
		}
	}
	return out
}

// Lapsed returns the fingerprint of the key in which the authority certified one of the
// person's JIDs last, if somebody meant that to end: the key was revoked or expired
// while it was certified, or the certification was revoked. "" if it counts, or has
// merely run out, as all of a company may on one day, whatever became of the keys that it
// replaced; and while the authority itself certifies nobody.
func (a *Authority) Lapsed(p *policy.Person, now time.Time) string {
	if a == nil || a.fpr == "" || p == nil {
		return ""
	}
	s := a.ring.snap.Load()
	ca, err := s.authority(a.fpr, now)
	if err != nil {
		return ""
	}
	var last certification
	meant := false
	for _, c := range s.certifications(ca) {
		if !slices.ContainsFunc(p.JIDs, c.names) || c.given.Before(last.given) {
			continue
		}
		ended := c.until.Equal(c.from) || s.certs[c.fpr].revoked(now) && (now.Before(c.until) || s.certs[c.fpr].revoked(c.until))
		if c.given.After(last.given) || !ended { // of two at once, the one that was not meant
			last, meant = c, ended
		}
	}
	if !meant {
		return ""
	}
	return last.fpr
}

// Addresses returns the addresses, mail or JID, in lower case, that stand in the keys
// with these fingerprints and that the authority certified, now.
func (a *Authority) Addresses(fprs []string, now time.Time) []string {
	if a == nil || a.fpr == "" {
		return nil
	}
	s := a.ring.snap.Load()
	ca, err := s.authority(a.fpr, now)
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range s.certifications(ca) {
		if c.valid(now) && slices.Contains(fprs, c.fpr) && !slices.Contains(out, c.address) && !s.certs[c.fpr].revoked(now) {
			out = append(out, c.address)
		}
	}
	return out
}

// certification is one user id that an authority has certified.
type certification struct {
	fpr         string    // of the key
	address     string    // in its user id, lower case
	given       time.Time // when it was made last, revoked or not
	from, until time.Time // the same: it was revoked
}

func (c *certification) valid(now time.Time) bool {
	return !now.Before(c.from) && now.Before(c.until)
}

func (c *certification) names(jid string) bool {
	return c.address == strings.ToLower(jid)
}

// authority returns the certificate with this fingerprint if it can certify now.
func (s *snapshot) authority(fpr string, now time.Time) (*cert, error) {
	c := s.certs[fpr]
	if c == nil {
		return nil, e2ee.ErrNoKey
	}
	v := c.strict
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := v.entity.VerifyPrimaryKey(now, v.cfg); err != nil {
		return nil, classify(err)
	}
	return c, nil
}

// revoked reports whether the whole key is revoked or expired.
func (c *cert) revoked(now time.Time) bool {
	v := c.view(true)
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.entity.VerifyPrimaryKey(now, v.cfg)
	return err != nil
}

// certifications returns what ca has certified, whatever the time. The signatures of
// a snapshot are checked once.
func (s *snapshot) certifications(ca *cert) []certification {
	s.authMu.Lock()
	defer s.authMu.Unlock()
	if found, ok := s.byAuthority[ca.fpr]; ok {
		return found
	}
	var out []certification
	for _, fpr := range s.order {
		if fpr != ca.fpr {
			out = append(out, s.certs[fpr].certifiedBy(ca)...)
		}
	}
	if s.byAuthority == nil {
		s.byAuthority = map[string][]certification{}
	}
	s.byAuthority[ca.fpr] = out
	return out
}

// certifiedBy returns the user ids of c that ca has certified.
func (c *cert) certifiedBy(ca *cert) []certification {
	ca.strict.mu.Lock()
	key, cfg := ca.strict.entity.PrimaryKey, ca.strict.cfg
	ca.strict.mu.Unlock()
	v := c.view(true)
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []certification
	for name, id := range v.entity.Identities {
		if address := addressOf(name); address != "" {
			if self, err := id.LatestValidSelfCertification(time.Time{}, v.cfg); err != nil || id.Revoked(self, time.Time{}, v.cfg) {
				continue
			}
			if k, ok := latest(id, v.entity.PrimaryKey, key, cfg); ok {
				k.fpr, k.address = c.fpr, address
				out = append(out, k)
			}
		}
	}
	return out
}

// latest returns what the newest valid certification of id by the key ca says; the
// newest that is a revocation was good for no time (RFC 4880 §5.2.1).
func latest(id *pgp.Identity, primary, ca *packet.PublicKey, cfg *packet.Config) (certification, bool) {
	var best *packet.Signature
	var given time.Time
	for _, s := range id.OtherCertifications {
		sig := s.Packet
		if !madeBy(sig, ca) || cfg.RejectHashAlgorithm(sig.Hash) || ca.CreationTime.After(sig.CreationTime) {
			continue
		}
		older := best != nil && (sig.CreationTime.Before(best.CreationTime) || sig.CreationTime.Equal(best.CreationTime) && best.SigType == packet.SigTypeCertificationRevocation)
		gives := sig.SigType != packet.SigTypeCertificationRevocation && sig.CreationTime.After(given)
		if older && !gives || ca.VerifyUserIdSignature(id.Name, primary, sig) != nil {
			continue
		}
		if gives {
			given = sig.CreationTime
		}
		if !older {
			best = sig
		}
	}
	if best == nil {
		return certification{}, false
	}
	if given.IsZero() { // only what revokes it is left
		given = primary.CreationTime
	}
	k := certification{given: given, from: best.CreationTime, until: farFuture}
	if best.SigType == packet.SigTypeCertificationRevocation {
		k.until = k.from
	} else if s := best.SigLifetimeSecs; s != nil && *s != 0 {
		k.until = best.CreationTime.Add(time.Duration(*s) * time.Second)
	}
	return k, true
}

func madeBy(sig *packet.Signature, ca *packet.PublicKey) bool {
	if len(sig.IssuerFingerprint) > 0 {
		return bytes.Equal(sig.IssuerFingerprint, ca.Fingerprint)
	}
	return sig.IssuerKeyId != nil && *sig.IssuerKeyId == ca.KeyId
}

// addressOf returns the address in a user id, as "xmpp:alice@example.org",
// "alice@example.org" or "Alice <alice@example.org>", in lower case; "" if it has
// none or more than one.
func addressOf(uid string) string {
	s := strings.TrimSpace(uid)
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		if strings.ContainsAny(s[:i], "<>") {
			return ""
		}
		s = s[i+1 : len(s)-1]
	}
	s = strings.ToLower(strings.TrimPrefix(s, "xmpp:"))
	if strings.Count(s, "@") != 1 || strings.ContainsAny(s, " <>()[],;:\\\"/\t\r\n") {
		return ""
	}
	return s
}
