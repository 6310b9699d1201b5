// Package importer reads configurations of other bridges, matterbridge and
// biboumi, and makes one of ours. What they say and Drawbridge cannot, or does
// otherwise, is told with its line and the reason.
package importer
