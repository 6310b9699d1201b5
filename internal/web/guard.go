package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"drawbridge/bridge/guard"
)

// The metrics of guarded rooms, which are called as in the configuration: no label
// holds who was there.
var (
	armedDesc    = desc("guard_armed", "1 if the room's rules are carried out, 0 in dry run.", "room")
	shutDesc     = desc("guard_shut", "1 while the room is in lockdown.", "room")
	decidedDesc  = desc("guard_acts_total", "Acts of the guard since the start, by effect; of a room in dry run, what it would have done.", "room", "effect")
	lockdownDesc = desc("guard_lockdowns_total", "Times that the room was shut.", "room")
	repairDesc   = desc("guard_repairs_total", "Times that what others changed was set back.", "room")
	alarmDesc    = desc("guard_alarms", "What the admins were told of the room and is still so.", "room")
	placeDesc    = desc("guard_held", "1 if the bot is there and has op, or is owner.", "room", "leg")
	holdDesc     = desc("guard_services_down", "1 while accounts cannot be told and nobody is removed for lack of one.", "room", "leg")
	presentDesc  = desc("guard_present", "Who is there.", "room", "leg")
	quietDesc    = desc("guard_quarantined", "Who of them is in quarantine.", "room", "leg")
	bansDesc     = desc("guard_bans", "Bans in force.")
	actsDesc     = desc("guard_audit_waiting", "Acts that wait to be written to the audit.")
	lostDesc     = desc("guard_audit_lost_total", "Acts that the store did not take in time.")
)

func collectGuard(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string), s guard.Status) {
	gauge(bansDesc, float64(s.Bans))
	gauge(actsDesc, float64(s.Acts))
	counter(lostDesc, s.Lost)
	for i := range s.Rooms {
		r := &s.Rooms[i]
		gauge(armedDesc, one(r.Armed), r.Name)
		gauge(shutDesc, one(r.Shut.After(s.Now)), r.Name)
		gauge(alarmDesc, float64(len(r.Alarms)), r.Name)
		counter(lockdownDesc, r.Lockdowns, r.Name)
		counter(repairDesc, r.Repairs, r.Name)
		for effect, n := range r.Did {
			counter(decidedDesc, n, r.Name, effect)
		}
		for j := range r.Places {
			p := &r.Places[j]
			gauge(placeDesc, one(p.Ready && p.Holds), r.Name, p.Room.Leg)
			gauge(holdDesc, one(p.ServicesDown), r.Name, p.Room.Leg)
			gauge(presentDesc, float64(p.Present), r.Name, p.Room.Leg)
			gauge(quietDesc, float64(p.Quarantined), r.Name, p.Room.Leg)
		}
	}
}
