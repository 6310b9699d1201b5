package guard

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// marks are the entries that this guard put into servers' lists for bans, so that
// they are taken back when the ban ends, also by a later process and when the person
// is gone from the config. Each is kept as a Timer.
type marks struct {
	mu  sync.Mutex // guards all
	set map[string]mark
}

// mark is one entry: of a ban, by its ID, or one that silences somebody or lets them in,
// of a list.
type mark struct{ kind, ban, place, mask string }

func (m mark) id() string { return m.kind + " " + m.ban + " " + m.place + " " + m.mask }

// muteMark is the mark of an entry that silences somebody in a channel.
func (sd *side) muteMark(e entry) mark {
	return mark{timerMute, string(e.mode), sd.place.String(), e.mask}
}

// entry is what stands in the list, of a mark of a mute or a door.
func (m mark) entry() entry { return entry{mode: m.ban[0], mask: m.mask} }

// parseMark reads an ID of a mark.
func parseMark(id string) (mark, bool) {
	f := strings.SplitN(id, " ", 4)
	if len(f) != 4 || f[0] != timerBan && (f[0] != timerMute && f[0] != timerDoor || len(f[1]) != 1) {
		return mark{}, false
	}
	return mark{f[0], f[1], f[2], f[3]}, true
}

// of returns the marks of a kind in a place.
func (m *marks) of(kind string, place bridge.Room) (out []mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.set {
		if x.kind == kind && x.place == place.String() {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b mark) int { return strings.Compare(a.mask, b.mask) })
	return out
}

// projected notes that an entry stands, or is about to, for a ban.
func (g *Guard) projected(sd *side, b *policy.BanRecord, mask string) {
	g.mark(sd.room.name, mark{timerBan, b.ID, sd.place.String(), mask}, b.Until)
}

// mark keeps a mark of a room.
func (g *Guard) mark(room string, m mark, due time.Time) {
	g.marks.mu.Lock()
	_, known := g.marks.set[m.id()]
	g.marks.set[m.id()] = m
	g.marks.mu.Unlock()
	if known {
		return
	}
	x := Timer{ID: m.id(), Kind: m.kind, Room: room, Who: m.mask, Due: due}
	g.scribe.add(x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) })
}

// takeKeptLocked takes over the bans of an earlier process. It may have been killed
// between an entry and its mark, so all that may stand is marked: in a MUC at once, in a
// channel when it is known how the network writes it.
func (sd *side) takeKeptLocked(bans []policy.BanRecord) {
	for _, b := range bans {
		if len(b.Rooms) == 0 || slices.Contains(b.Rooms, sd.room.name) {
			sd.kept = append(sd.kept, b)
		}
	}
	if !sd.channel() {
		sd.markKeptLocked()
	}
}

func (sd *side) markKeptLocked() {
	for i := range sd.kept {
		for _, mask := range sd.room.g.masks(sd, &sd.kept[i]) {
			sd.room.g.projected(sd, &sd.kept[i], mask)
		}
	}
	sd.kept = nil
}

// unprojected forgets marks whose entries are gone.
func (g *Guard) unprojected(gone []mark) {
	g.marks.mu.Lock()
	for _, m := range gone {
		delete(g.marks.set, m.id())
	}
	g.marks.mu.Unlock()
	for _, m := range gone {
		g.scribe.drop(m.id(), m.id())
	}
}
