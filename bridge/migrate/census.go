package migrate

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// census counts what was said, in memory; Mover writes it down.
type census struct {
	mu       sync.Mutex // guards all below
	moves    map[string]*Move
	ignore   map[string]map[string]bool // by bridge: names in lower case
	days     map[[2]string]*Day
	speakers map[SpeakerID]*Speaker
	of       map[string]int // speakers by bridge
	refusals map[RefusalID]bool
	// What is not written down yet.
	freshDays map[[2]string]bool
	fresh     map[SpeakerID]bool
	gone      map[SpeakerID]bool
}

func newCensus() *census {
	return &census{
		moves: map[string]*Move{}, ignore: map[string]map[string]bool{}, days: map[[2]string]*Day{}, speakers: map[SpeakerID]*Speaker{},
		of: map[string]int{}, refusals: map[RefusalID]bool{}, freshDays: map[[2]string]bool{}, fresh: map[SpeakerID]bool{}, gone: map[SpeakerID]bool{},
	}
}

// load takes over what was kept.
func (c *census) load(k *Kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range k.Days {
		d := k.Days[i]
		c.days[[2]string{d.Bridge, d.Date}] = &d
	}
	for i := range k.Speakers {
		s := k.Speakers[i]
		c.speakers[s.SpeakerID] = &s
		c.of[s.Bridge]++
	}
	for _, r := range k.Refusals {
		c.refusals[r.RefusalID] = true
	}
}

// use counts for these moves from now on.
func (c *census) use(moves []Move) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.moves)
	clear(c.ignore)
	for i := range moves {
		m := &moves[i]
		c.moves[m.Bridge] = m
		names := map[string]bool{}
		for _, name := range m.Ignore {
			names[strings.ToLower(name)] = true
		}
		c.ignore[m.Bridge] = names
	}
}

// idOf is who a speaker is in the counts.
func idOf(name string, room bridge.Room, from *bridge.Sender) (id SpeakerID, shown string) {
	id = SpeakerID{Bridge: name, Leg: room.Leg}
	switch {
	case room.Kind != bridge.Channel && from.Person != "":
		id.Kind, id.Name = "person", from.Person
	case room.Kind != bridge.Channel && from.JID != "":
		id.Kind, id.Name = "jid", from.JID
	case from.Account != "":
		id.Kind, id.Name = "account", strings.ToLower(from.Account)
	default:
		id.Kind, id.Name = "nick", strings.ToLower(from.Nick)
	}
	return id, from.Nick
}

// count notes that somebody spoke.
func (c *census) count(s *bridge.Spoken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ignore := c.ignore[s.Bridge]
	if c.moves[s.Bridge] == nil || ignore[strings.ToLower(s.From.Nick)] || s.From.Account != "" && ignore[strings.ToLower(s.From.Account)] || c.refusesLocked(s.Room.Leg, &s.From) {
		return
	}
	clear := s.Rung < policy.Sealed
	c.countLineLocked(s, clear)
	id, shown := idOf(s.Bridge, s.Room, &s.From)
	if id.Name == "" {
		return
	}
	x := c.speakers[id]
	if x == nil {
		c.makeRoomLocked(s.Bridge)
		x = &Speaker{SpeakerID: id, First: s.At}
		c.speakers[id] = x
		c.of[s.Bridge]++
	}
	if id.Kind == "account" { // who logged in since is one and the same
		before := id
		before.Kind, before.Name = "nick", strings.ToLower(s.From.Nick)
		if old := c.speakers[before]; old != nil {
			x.Lines, x.Clear = x.Lines+old.Lines, x.Clear+old.Clear
			if old.First.Before(x.First) {
				x.First = old.First
			}
			c.dropLocked(before)
		}
	}
	x.Shown, x.Last = shown, s.At
	x.Lines++
	if clear {
		x.Clear++
	}
	c.fresh[id] = true
	delete(c.gone, id)
}

func (c *census) countLineLocked(s *bridge.Spoken, clear bool) {
	d := c.dayLocked(s.Bridge, s.At)
	if d.Lines == nil {
		d.Lines = map[string]int{}
	}
	d.Lines[s.Room.Leg+"/"+s.Rung.String()]++
	d.All++
	if !clear {
		d.Encrypted++
	}
}

// dayLocked is the row of a day.
func (c *census) dayLocked(name string, at time.Time) *Day {
	key := [2]string{name, dateOf(at)}
	d := c.days[key]
	if d == nil {
		d = &Day{Bridge: name, Date: key[1]}
		c.days[key] = d
	}
	c.freshDays[key] = true
	return d
}

func (c *census) dropLocked(id SpeakerID) {
	if c.speakers[id] == nil {
		return
	}
	delete(c.speakers, id)
	delete(c.fresh, id)
	c.of[id.Bridge]--
	c.gone[id] = true
}

// makeRoomLocked forgets who spoke longest ago, where a bridge has too many.
func (c *census) makeRoomLocked(name string) {
	if c.of[name] < MaxSpeakers {
		return
	}
	var oldest *Speaker
	for _, s := range c.speakers {
		if s.Bridge == name && (oldest == nil || s.Last.Before(oldest.Last)) {
			oldest = s
		}
	}
	if oldest != nil {
		c.dropLocked(oldest.SpeakerID)
	}
}

// refusesLocked reports whether somebody does not want to be counted.
func (c *census) refusesLocked(leg string, from *bridge.Sender) bool {
	for _, name := range [...]string{from.Nick, from.Account, from.Person, from.JID} {
		if name != "" && c.refusals[RefusalID{leg, strings.ToLower(name)}] {
			return true
		}
	}
	return false
}

// refuse forgets somebody, and counts them no more; or does so again.
func (c *census) refuse(id RefusalID, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !on {
		delete(c.refusals, id)
		return
	}
	c.refusals[id] = true
	for sid, s := range c.speakers {
		if sid.Leg == id.Leg && (strings.EqualFold(sid.Name, id.Name) || strings.EqualFold(s.Shown, id.Name)) {
			c.dropLocked(sid)
		}
	}
}

// take returns what is to be written down; put back by again if that fails.
func (c *census) take() (days []Day, speakers []Speaker, gone []SpeakerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.freshDays {
		if d := c.days[key]; d != nil {
			cp := *d
			cp.Lines = maps.Clone(d.Lines)
			days = append(days, cp)
		}
	}
	for id := range c.fresh {
		if s := c.speakers[id]; s != nil {
			speakers = append(speakers, *s)
		}
	}
	gone = slices.Collect(maps.Keys(c.gone))
	clear(c.freshDays)
	clear(c.fresh)
	clear(c.gone)
	return days, speakers, gone
}

// again notes what could not be written down.
func (c *census) again(days []Day, speakers []Speaker, gone []SpeakerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range days {
		c.freshDays[[2]string{d.Bridge, d.Date}] = true
	}
	for _, s := range speakers {
		if c.speakers[s.SpeakerID] != nil {
			c.fresh[s.SpeakerID] = true
		}
	}
	for _, id := range gone {
		if c.speakers[id] == nil {
			c.gone[id] = true
		}
	}
}

// forget drops what is older than is kept.
func (c *census) forget(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	date := dateOf(before)
	maps.DeleteFunc(c.days, func(_ [2]string, d *Day) bool { return d.Date < date })
	for id, s := range c.speakers {
		if s.Last.Before(before) {
			c.dropLocked(id)
		}
	}
}

// People tells who is whom, from links and config.
type People struct {
	byAccount map[[2]string]*policy.Person
	byName    map[string]*policy.Person
}

// NewPeople makes the look-ups of people: with their accounts on IRC, and those keys that
// prove them now.
func NewPeople(people []*policy.Person) *People {
	p := &People{byAccount: map[[2]string]*policy.Person{}, byName: map[string]*policy.Person{}}
	for _, x := range people {
		p.byName[x.Name] = x
		for leg, id := range x.IRC {
			for _, account := range id.Accounts {
				p.byAccount[[2]string{leg, strings.ToLower(account)}] = x
			}
		}
	}
	return p
}

// Of is whom a speaker is linked to: somebody with a JID, or nil.
func (p *People) Of(id SpeakerID) *policy.Person {
	var x *policy.Person
	switch id.Kind {
	case "account":
		x = p.byAccount[[2]string{id.Leg, id.Name}]
	case "person":
		x = p.byName[id.Name]
	}
	if x == nil || len(x.JIDs) == 0 {
		return nil
	}
	return x
}

// hasKey reports whether somebody has a verified key.
func hasKey(p *policy.Person) bool { return p != nil && len(p.OpenPGP)+len(p.OTR) > 0 }

// figures are what gates look at; rooms are left to the caller. Somebody who is linked
// counts once, by however many accounts they speak.
func (c *census) figures(m *Move, people *People, now time.Time) Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	var f Figures
	legs := m.legs()
	seen := map[string]bool{}
	for id, s := range c.speakers {
		if id.Bridge != m.Bridge || !legs[id.Leg] || now.Sub(s.Last) > m.recent() {
			continue
		}
		p := people.Of(id)
		if p == nil {
			f.Speakers++
			continue
		}
		if seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		f.Speakers++
		f.Linked++
		if hasKey(p) {
			f.Verified++
		}
	}
	from := dateOf(now.Add(-LinesWindow))
	for _, d := range c.days {
		if d.Bridge == m.Bridge && d.Date > from {
			f.Lines += d.All
			f.Encrypted += d.Encrypted
		}
	}
	return f
}

// legs are the networks of the channels.
func (m *Move) legs() map[string]bool {
	legs := map[string]bool{}
	for _, ch := range m.Channels {
		legs[ch.Leg] = true
	}
	return legs
}

// note writes the figures of the day down.
func (c *census) note(m *Move, p Phase, f *Figures, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{m.Bridge, dateOf(now)}
	if d := c.days[key]; d != nil && d.Phase == p && d.Speakers == f.Speakers && d.Linked == f.Linked && d.Verified == f.Verified {
		return
	}
	d := c.dayLocked(m.Bridge, now)
	d.Phase, d.Speakers, d.Linked, d.Verified = p, f.Speakers, f.Linked, f.Verified
}
