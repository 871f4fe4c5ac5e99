package overlay

import (
	"encoding/json"
	"maps"
	"testing"
)

func TestStatsAreJSONAndBack(t *testing.T) {
	before := Stats{Dials: map[DialCount]uint64{{"views", "up"}: 3, {"heal", "other_node"}: 1}}
	text, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after Stats
	if err := json.Unmarshal(text, &after); err != nil || !maps.Equal(before.Dials, after.Dials) {
		t.Errorf("%s came back as %v (%v)", text, after.Dials, err)
	}
}
