package config

import "strings"

// nearest returns the known word that word most likely meant. A third of its
// letters may be wrong, missing, added or swapped with their neighbour.
func nearest(word string, known []string) (string, bool) {
	w := strings.ToLower(word)
	if len(w) > 64 {
		return "", false
	}
	best, limit := "", max(1, len(w)/3)+1
	for _, k := range known {
		if dist := distance(w, strings.ToLower(k)); dist < limit {
			best, limit = k, dist
		}
	}
	return best, best != ""
}

// distance is the optimal string alignment distance of a and b, in bytes:
// insertions, deletions, substitutions and swaps of neighbours count one each.
func distance(a, b string) int {
	var before []int
	prev, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, make([]int, len(b)+1)
	}
	return prev[len(b)]
}
