package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// FindBan notes in the facts the live ban that meets the subject in a room: of a
// person whom the facts prove by an account or better, or of a mask; of several,
// the one that lasts longest. Where a fact that is missing could prove somebody
// banned, it notes that.
func (p *Policy) FindBan(bans []BanRecord, f *Facts, room string, now time.Time) {
	f.Ban, f.BanMissing = p.findBan(bans, f, room, now), 0
	unknown := f.unknown()
	if f.Ban != nil || unknown == 0 {
		return
	}
	for id, person := range p.names { // the order does not count
		m := missing(id.kind)
		if unknown&m == 0 || id.leg != "" && id.leg != f.Leg {
			continue
		}
		for i := range bans {
			if b := &bans[i]; b.Person != "" && b.Person == person && b.Live(room, now) {
				f.BanMissing |= m
			}
		}
	}
}

func (p *Policy) findBan(bans []BanRecord, f *Facts, room string, now time.Time) *BanRecord {
	who := p.Who(f)
	var out *BanRecord
	for i := range bans {
		b := &bans[i]
		if !b.Live(room, now) || b.Person != "" && !slices.Contains(who, b.Person) || b.Person == "" && !b.meets(f) {
			continue
		}
		if out == nil || !out.Until.IsZero() && (b.Until.IsZero() || b.Until.After(out.Until)) {
			out = b
		}
	}
	return out
}

// Prefixes of BanRecord.Mask for identities that no person has: an account of a
// network, as "account:corp/eve", a bare JID, as "jid:eve@example.org", and an occupant
// whose JID is hidden, by the room's id of them (XEP-0421), as "occupant:dev-bot/9f2c…".
const (
	MaskAccount  = "account:"
	MaskJID      = "jid:"
	MaskOccupant = "occupant:"
)

// OccupantMask is the mask of a ban of an occupant; "" where the room tells no id.
func (f *Facts) OccupantMask() string {
	if f.Occupant.Known != Yes {
		return ""
	}
	return MaskOccupant + f.Leg + "/" + f.Occupant.Value
}

// meets reports whether a ban of a mask is of that subject.
func (b *BanRecord) meets(f *Facts) bool {
	if account, ok := strings.CutPrefix(b.Mask, MaskAccount); ok {
		leg, name, _ := strings.Cut(account, "/")
		return f.Account.Known == Yes && f.Leg == leg && SameAccount(f.Account.Value, name)
	}
	if jid, ok := strings.CutPrefix(b.Mask, MaskJID); ok {
		return f.JID.Known == Yes && f.JID.Value == jid
	}
	if occupant, ok := strings.CutPrefix(b.Mask, MaskOccupant); ok {
		leg, id, _ := strings.Cut(occupant, "/")
		return f.Occupant.Known == Yes && f.Leg == leg && f.Occupant.Value == id
	}
	return b.Mask != "" && f.matches(FoldMask(b.Mask))
}

// Protects reports whether the facts prove somebody whom no rule and no ban removes.
func (p *Policy) Protects(f *Facts) bool {
	var s subject
	p.identify(f, &s)
	return s.protected(f) == Yes
}

// MaskHit is what a mask would do to those who are there.
type MaskHit struct {
	Present   int      // how many it fits
	Protected []string // nicks of those it fits who are, or may be, protected
}

// Hit counts whom a host mask fits, before it is set: the host may be the whole
// company's.
func (p *Policy) Hit(mask string, present []Facts) (out MaskHit) {
	mask = FoldMask(mask)
	for i := range present {
		f := &present[i]
		if !f.matches(mask) {
			continue
		}
		out.Present++
		var s subject
		if p.identify(f, &s); s.protected(f) != No {
			out.Protected = append(out.Protected, f.Nick)
		}
	}
	return out
}

// Refused says why a mask may not be set; "": it may.
func (h MaskHit) Refused(most int) string {
	switch {
	case len(h.Protected) > 0:
		return "it fits " + strings.Join(h.Protected, ", ") + ", who must not be removed"
	case h.Present > most:
		return fmt.Sprintf("it fits %d who are there, and %d may go", h.Present, most)
	}
	return ""
}

// BanMasks returns the entries by which one network keeps a person out: their
// accounts where it has lists of those, else their certificates, else the hosts
// that the config names; never a nick.
func (p *Person) BanMasks(leg string, caps ChannelCaps) []string {
	id := p.IRC[leg]
	var out []string
	for _, a := range id.Accounts {
		if m, ok := caps.AccountMask(a); ok {
			out = append(out, m)
		}
	}
	for _, c := range id.CertFPs {
		if m, ok := caps.CertMask(c); ok {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		out = append(out, id.Hosts...)
	}
	return out
}
