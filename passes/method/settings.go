package method

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// SettingError is a field of a record with a value that it cannot have.
type SettingError struct {
	Field, Value, Want string
}

// Error implements error.
func (e *SettingError) Error() string {
	return fmt.Sprintf("method setting %s=%s: want %s", e.Field, e.Value, e.Want)
}

// Encode is the record as compact JSON, the form of the step graph's metadata "asdl.method".
func (r Record) Encode() string {
	data, err := json.Marshal(r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(data)
}

// Decode is the inverse of Encode; unknown fields are an error.
func Decode(text string) (Record, error) {
	var r Record
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("method record: %w", err)
	}
	return r, Validate(r)
}

// Set changes one field by its path in the JSON form, "solve.every=10", and validates nothing else: call Validate when
// all settings are made. "damping" stands for solve.damping.value, "every" for both intervals.
func Set(r *Record, path, value string) error {
	switch path {
	case shortNames["solve.damping.value"]:
		path = "solve.damping.value"
	case "every":
		if err := Set(r, "accumulate.every", value); err != nil {
			return err
		}
		path = "solve.every"
	}
	var tree map[string]any
	if err := json.Unmarshal([]byte(fullJSON(*r)), &tree); err != nil {
		panic("BUG: " + err.Error())
	}
	parts := strings.Split(path, ".")
	node := tree
	for _, p := range parts[:len(parts)-1] {
		next, ok := node[p].(map[string]any)
		if !ok {
			return &SettingError{path, value, "one of " + strings.Join(Fields(), ", ")}
		}
		node = next
	}
	last := parts[len(parts)-1]
	old, ok := node[last]
	if !ok {
		return &SettingError{path, value, "one of " + strings.Join(Fields(), ", ")}
	}
	v, err := parseAs(old, value)
	if err != nil {
		return &SettingError{path, value, err.Error()}
	}
	node[last] = v
	data, err := json.Marshal(tree)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var out Record
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		return &SettingError{path, value, "a whole number"}
	}
	out.Equations, out.Oracles = r.Equations, r.Oracles
	*r = out
	return nil
}

// shortNames are other names of single fields.
var shortNames = map[string]string{"solve.damping.value": "damping"}

func parseAs(old any, value string) (any, error) {
	switch old.(type) {
	case float64:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("a number")
		}
		return v, nil
	case bool:
		v, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("true or false")
		}
		return v, nil
	case string:
		return value, nil
	}
	return nil, fmt.Errorf("a single field, not a group")
}

// fullJSON is Encode with fields of zero value included.
func fullJSON(r Record) string {
	data, err := json.Marshal(expand(r))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return string(data)
}
