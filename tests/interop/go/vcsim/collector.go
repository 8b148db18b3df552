package main

import (
	"regexp"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const settings = "config.extraConfig"

var indexed = regexp.MustCompile(`^config\.extraConfig\["([^"]*)"\]$`)

// A property collector that reads an advanced setting by its name, as the Web Services SDK Programming Guide says and vcsim 0.24.2
// does not: its paths have no index.
type collector struct {
	simulator.PropertyCollector
}

func (c *collector) RetrievePropertiesEx(ctx *simulator.Context, request *types.RetrievePropertiesEx) soap.HasFault {
	keys := map[string]string{} // By path.
	for i := range request.SpecSet {
		for j := range request.SpecSet[i].PropSet {
			spec := &request.SpecSet[i].PropSet[j]
			paths := []string{}
			asked := false
			for _, one := range spec.PathSet {
				if match := indexed.FindStringSubmatch(one); match != nil {
					keys[one], asked = match[1], true
				} else {
					paths = append(paths, one)
				}
			}
			if asked {
				paths = append(paths, settings)
			}
			spec.PathSet = paths
		}
	}
	answer := c.PropertyCollector.RetrievePropertiesEx(ctx, request)
	body, ok := answer.(*methods.RetrievePropertiesExBody)
	if ok && body.Res != nil && body.Res.Returnval != nil && len(keys) > 0 {
		for i := range body.Res.Returnval.Objects {
			pick(&body.Res.Returnval.Objects[i], keys)
		}
	}
	return answer
}

// In place of all settings, those that were asked for.
func pick(content *types.ObjectContent, keys map[string]string) {
	kept := []types.DynamicProperty{}
	for _, property := range content.PropSet {
		all, ok := property.Val.(*types.ArrayOfOptionValue)
		if property.Name != settings || !ok {
			kept = append(kept, property)
			continue
		}
		for path, key := range keys {
			for _, option := range all.OptionValue {
				if value := option.GetOptionValue(); value.Key == key {
					kept = append(kept, types.DynamicProperty{Name: path, Val: *value})
				}
			}
		}
	}
	content.PropSet = kept
}
