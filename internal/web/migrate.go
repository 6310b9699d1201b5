package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"drawbridge/bridge/migrate"
)

// The metrics of bridges on their way off IRC: counts, and nobody's name.
var (
	phaseDesc     = desc("migration_phase", "How far the bridge is: 0 mirror, 1 encrypted-first, 2 irc-readonly, 3 farewell, 4 closed.", "bridge")
	peopleDesc    = desc("migration_people", "People who spoke on IRC lately, those of them who are linked, and those with a verified key.", "bridge", "state")
	spokenDesc    = desc("migration_lines", "Lines of the last seven days, and those that came encrypted.", "bridge", "state")
	gatesDesc     = desc("migration_gates_open", "1 if nothing stands before the next phase now; absent in the last one.", "bridge")
	datesHeldDesc = desc("migration_held", "1 while an admin holds the dates.", "bridge")
	dueDesc       = desc("migration_next_timestamp_seconds", "When the next phase begins, in Unix time; absent if by hand.", "bridge")
	overdueDesc   = desc("migration_overdue", "1 if that time has passed.", "bridge")
)

func collectMigrations(gauge func(*prometheus.Desc, float64, ...string), all []migrate.Status) {
	for i := range all {
		s := &all[i]
		gauge(phaseDesc, float64(s.Phase), s.Bridge)
		f := &s.Figures
		for state, n := range map[string]int{"speakers": f.Speakers, "linked": f.Linked, "verified": f.Verified} {
			gauge(peopleDesc, float64(n), s.Bridge, state)
		}
		for state, n := range map[string]int{"all": f.Lines, "encrypted": f.Encrypted} {
			gauge(spokenDesc, float64(n), s.Bridge, state)
		}
		gauge(datesHeldDesc, one(s.Held), s.Bridge)
		if s.Next == nil {
			continue
		}
		gauge(gatesDesc, one(len(s.Shut) == 0), s.Bridge)
		if !s.Due.IsZero() {
			gauge(dueDesc, float64(s.Due.Unix()), s.Bridge)
			gauge(overdueDesc, one(s.Overdue), s.Bridge)
		}
	}
}
