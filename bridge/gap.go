package bridge

import "time"

// gap makes the bot's own words of a Gap: every room of the bridge hears from when
// to when nothing said in the room reached us. They are taken in like a message:
// kept, counted, in order, and not told again if the leg reports the same gap once
// more after a restart. It reports false when they have to wait, as a message would:
// behind what is held, or for room in an outbox.
func (d *dispatcher) gap(t *table, in *intent, e *Event, now time.Time) bool {
	if d.held.rooms[e.Room] > 0 {
		return false
	}
	until := e.Time
	if until.IsZero() || until.After(now) {
		until = now
	}
	since := e.Since
	if since.After(until) {
		since = until
	}
	in.msg = &Message{Room: e.Room, Time: until}
	in.gap, in.routes, in.what = true, t.routes[e.Room], accepted
	in.entry = Entry{Room: e.Room, ID: "gap " + e.Since.UTC().Format(time.RFC3339) + " " + e.Time.UTC().Format(time.RFC3339), At: now}
	if len(in.routes) == 0 {
		in.what = stray
		return true
	}
	for _, from := range in.routes {
		for _, to := range from.bridge.members {
			if !to.out.hasRoom(gapSize, now) {
				d.tellFull(to, now)
				if !d.held.force {
					return false
				}
			}
		}
	}
	d.c.log.Warn("gap: what was said did not reach us", "leg", e.Room.Leg, "room", e.Room.Name, "took", until.Sub(since))
	for _, from := range in.routes {
		text := NewText(gapText(from.display(), since, until, t.loc))
		in.msg.Text = text
		for _, to := range from.bridge.members {
			if heard(in, to.room) {
				continue
			}
			r := &Row{
				ID: d.c.ids.next(), Bridge: from.bridge.cfg.Name, From: e.Room, To: to.room, Kind: RowGap,
				Text: text, Floor: to.floor, Said: until, Queued: now, ledger: from.bridge.ledger,
			}
			to.out.reserve(text.Len())
			in.entry.Rows = append(in.entry.Rows, r)
			in.copies = append(in.copies, copied{to, r})
		}
	}
	return true
}

// gapSize is about what the words of a gap take, in bytes.
const gapSize = 128

// gapText says from when to when the bridge was not connected to a room.
func gapText(room string, since, until time.Time, loc *time.Location) string {
	since, until = since.In(loc), until.In(loc)
	if since.Unix() <= 0 {
		return "Not connected to " + room + " until " + until.Format("15:04") + ": what was said there before may be missing here."
	}
	clock := "15:04"
	if since.Format(clock) == until.Format(clock) {
		clock = "15:04:05"
	}
	if y, m, d := until.Date(); since.Before(time.Date(y, m, d, 0, 0, 0, 0, loc)) {
		clock = "2 Jan " + clock
	}
	return "Not connected to " + room + " " + since.Format(clock) + "–" + until.Format(clock) + ": what was said there meanwhile may be missing here."
}
