// Package provision makes a MUC from a channel: members-only, seen by its members,
// kept, with the channel's topic as its subject, and with affiliations from the
// channel's access list for people whom the configuration knows. It adds: nobody
// loses an affiliation, and no owner is touched.
package provision
