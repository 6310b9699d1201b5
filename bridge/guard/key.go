package guard

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// keys are those of a channel whose key the guard changes (Room.RotateKey).
type keys struct {
	now  string    // that which the channel has, as far as we know; "": none
	next string    // kept by the store, and about to be set
	at   time.Time // since when now is
	due  bool      // an admin, or somebody's leaving, asked for another; kept, too
	give bool      // the leg is to be told, too
	tell bool      // now is new: who may join is to be told, also by a later process
}

// hidden is what stands where a key would.
const hidden = "***"

// hush takes the keys out of words that are shown.
func (k *keys) hush(words string) string {
	for _, key := range []string{k.now, k.next} {
		if key != "" {
			words = strings.ReplaceAll(words, key, hidden)
		}
	}
	return words
}

// newKey makes a key: 96 bits in 20 letters and digits, as many as ngIRCd takes.
func newKey() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// rotatesLocked reports whether the guard changes the key of this place now.
func (sd *side) rotatesLocked() bool {
	acts, _ := sd.actsLocked()
	return sd.channel() && sd.room.cfg.RotateKey > 0 && sd.room.armed && acts && sd.holds
}

// keyDueLocked reports whether another key is due. A clock that was set back does not
// put it off for ever.
func (sd *side) keyDueLocked(now time.Time) bool {
	k := &sd.room.keys
	if !sd.rotatesLocked() || k.next != "" || sd.room.breaker.Stopped(sd.place.String()+" k", now) {
		return false
	}
	age := now.Sub(k.at)
	return k.now == "" || k.due || age >= sd.room.cfg.RotateKey || age < 0
}

// prepareKey makes another key, if one is due. The store has it before the channel: a
// bot that is killed between the two must find its way back in.
func (sd *side) prepareKey(ctx context.Context) {
	r := sd.room
	now := r.g.now()
	r.mu.Lock()
	if !sd.keyDueLocked(now) {
		r.mu.Unlock()
		return
	}
	r.keys.next, r.keys.due = newKey(), false
	next := r.keys.next
	r.mu.Unlock()
	err := r.g.scribe.keepNow(ctx, r.job(), r.put)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.keys.next == next {
		r.keys.next, r.keys.due = "", true
		r.keepLocked()
		r.alarmLocked("key "+sd.place.String(), sd.place.String()+": its key is not changed: the store fails", now)
		return
	}
	sd.giveKeysLocked()
}

// giveKeysLocked tells the leg by which keys it may come in itself.
func (sd *side) giveKeysLocked() {
	holder, ok := sd.leg.(bridge.KeyHolder)
	if k := &sd.room.keys; ok && sd.channel() && k.now+k.next != "" {
		holder.UseKeys(sd.place, slices.DeleteFunc([]string{k.next, k.now}, func(key string) bool { return key == "" })...)
	}
}

// wantKeyLocked adds the key that the channel shall have. only: seen is what a plan would
// lead to, and notes nothing.
func (sd *side) wantKeyLocked(c *policy.Channel, seen *policy.ChannelSeen, only bool, now time.Time) {
	r := sd.room
	k := &r.keys
	if r.cfg.RotateKey <= 0 {
		return
	}
	if k.next != "" && seen.Key == k.next && !only {
		sd.keySetLocked(now)
	}
	key := k.now
	switch {
	case k.next != "":
		key = k.next
	case key == "" && !r.armed && seen.Key == "":
		key = hidden // a dry run shows that there would be one
	case key == "":
		return
	}
	c.Key = &key
}

// keySetLocked notes that the channel has its next key.
func (sd *side) keySetLocked(now time.Time) {
	r := sd.room
	r.keys = keys{now: r.keys.next, at: now, give: true, tell: true}
	r.keepLocked()
	r.overLocked("key " + sd.place.String())
	poke(sd.look) // those who may join are told
}

// keySeenLocked hears that we, or a peer that acts here, set the key.
func (sd *side) keySeenLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	key, ok := strings.CutPrefix(s.What, "+k ")
	switch {
	case !ok || !sd.channel() || r.cfg.RotateKey <= 0:
	case key == r.keys.next:
		sd.keySetLocked(now)
	case key != r.keys.now: // of a peer: it tells people; we have to get in again
		r.keys = keys{now: key, at: now, give: true}
		r.keepLocked()
		poke(sd.look)
	}
}

// tellKey tells the leg the key, if it is new, and each person who may join, in their
// own encrypted chat, if it is of this guard's making.
func (sd *side) tellKey() {
	r := sd.room
	now := r.g.now()
	r.mu.Lock()
	if !sd.channel() || !r.keys.give && !r.keys.tell {
		r.mu.Unlock()
		return
	}
	if r.keys.give {
		sd.giveKeysLocked()
		r.keys.give = false
	}
	if !r.keys.tell || r.cfg.RotateKey <= 0 {
		r.mu.Unlock()
		return
	}
	text, t, key := sd.keyWordsLocked(), r.table, r.keys.now
	var may, told, not []string
	for _, p := range t.cfg.Policy.People {
		if sd.mayJoinLocked(p, now) {
			may = append(may, p.Name)
		}
	}
	r.mu.Unlock()
	for _, name := range may {
		if r.g.tell(name, text) {
			told = append(told, name)
		} else {
			not = append(not, name)
		}
	}
	result := "told to " + orElse(strings.Join(told, ", "), "nobody")
	if len(not) > 0 {
		result += "; no encrypted chat with " + strings.Join(not, ", ")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteLocked(&Act{At: now, Room: r.name, Place: sd.place.String(), Acts: "key changed", Actor: actorGuard, Result: result})
	if r.keys.now == key { // else the next one is still to be told
		r.keys.tell = false
		r.keepLocked()
	}
}

// keyWordsLocked tells somebody the key.
func (sd *side) keyWordsLocked() string {
	r := sd.room
	return fmt.Sprintf("The key of %s on %s is %s: /join %s %s. Tell nobody; it changes every %s, and I tell you.",
		sd.place.Name, sd.place.Leg, r.keys.now, sd.place.Name, r.keys.now, spanWords(r.cfg.RotateKey))
}

// spanWords writes a span without its zeros: 24h, 90m.
func spanWords(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// mayJoinLocked reports whether a person would be let in who proves all that the config
// knows of them, and can be known on that network at all.
func (sd *side) mayJoinLocked(p *policy.Person, now time.Time) bool {
	r := sd.room
	leg := sd.place.Leg
	f := policy.NewIRCFacts(leg, p.Name, "", "")
	f.Account, f.Cert, f.TLS = policy.IsNot("", now), policy.IsNot("", now), policy.Is("", "", now)
	id := p.IRC[leg]
	known := len(id.Accounts)+len(id.CertFPs)+len(id.Hosts) > 0
	for _, b := range r.table.cfg.Policy.Binds { // linked accounts
		if b.Person == p.Name && b.Kind == policy.Account && b.Leg == leg {
			f.Account, known = policy.Is(b.Value, "", now), true
		}
	}
	if len(id.Accounts) > 0 {
		f.Account = policy.Is(id.Accounts[0], "", now)
	}
	if len(id.CertFPs) > 0 {
		f.Cert = policy.Is(id.CertFPs[0], "", now)
	}
	if never := sd.neverToldLocked(); never&(policy.MissingAccount|policy.MissingCert) == policy.MissingAccount|policy.MissingCert {
		known = true // nobody can prove anything there: the key is what they have
	}
	if !known {
		return false
	}
	if len(p.JIDs) > 0 {
		f.JID = policy.Is(p.JIDs[0], "", now)
	}
	if keys := slices.Concat(p.OpenPGP, p.OTR); len(keys) > 0 {
		f.Key = policy.Is(keys[0], "", now)
	}
	r.g.banned(r.policy, &f, r.name, now)
	d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, now)
	return d.Effect <= policy.Alert
}

// Key implements Orders.
func (g *Guard) Key(person, name string) (string, error) {
	sd, err := g.keyed(name)
	if err != nil {
		return "", err
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.table.people[person]
	switch {
	case p == nil || !sd.mayJoinLocked(p, g.now()):
		return "", fmt.Errorf("%w: you may not join %s", ErrRefused, sd.place)
	case r.keys.now == "":
		return "", fmt.Errorf("%w: %s has no key yet", ErrRefused, sd.place)
	}
	return sd.keyWordsLocked(), nil
}

// RotateKey implements Orders.
func (g *Guard) RotateKey(_ context.Context, name, by string) error {
	sd, err := g.keyed(name)
	if err != nil {
		return err
	}
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !sd.rotatesLocked() {
		return fmt.Errorf("%w: the guard does not hold %s now, or is in dry run", ErrRefused, sd.place)
	}
	r.keys.due = true
	r.keepLocked()
	r.noteLocked(&Act{At: g.now(), Room: r.name, Place: sd.place.String(), Acts: "rotate-key", Actor: by, Result: "ordered"})
	poke(sd.look)
	return nil
}

// keyed finds the channel of a room whose key the guard changes.
func (g *Guard) keyed(name string) (*side, error) {
	r := g.table.Load().room(name)
	if r == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoRoom, name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sd := range r.sides {
		if sd.channel() && r.cfg.RotateKey > 0 {
			return sd, nil
		}
	}
	return nil, fmt.Errorf("%w: room %s has no key that the guard changes (lock.rotate_key)", ErrRefused, r.name)
}

// newKeys has all channels get another key that have one: somebody left who knew it.
func (g *Guard) newKeys() {
	for _, r := range g.table.Load().rooms {
		r.mu.Lock()
		if r.cfg.RotateKey > 0 && r.keys.now != "" {
			r.keys.due = true
			r.keepLocked()
			for _, sd := range r.sides {
				poke(sd.look)
			}
		}
		r.mu.Unlock()
	}
}
