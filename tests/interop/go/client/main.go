// A backup's calls in another language: it lists VMs, takes snapshots, reads what changed between two and downloads a disk.
//
//	client URL VM-PATH DISK-KEY CA.pem
//
// It prints a line of JSON for each thing that it learnt. After the first snapshot it waits for a line on its standard input, so that
// somebody can write to the disk meanwhile.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type learnt map[string]interface{}

func say(what learnt) {
	line, err := json.Marshal(what)
	must(err)
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	key, err := strconv.Atoi(os.Args[3])
	must(err)
	client := login(ctx, os.Args[1], os.Args[4])
	defer client.Logout(ctx)
	list(ctx, client)
	finder := find.NewFinder(client.Client, true)
	datacenter, err := finder.DefaultDatacenter(ctx)
	must(err)
	finder.SetDatacenter(datacenter)
	vm, err := finder.VirtualMachine(ctx, os.Args[2])
	must(err)
	back(ctx, client, finder, vm, int32(key))
	past(ctx, client, vm)
}

func login(ctx context.Context, address string, ca string) *govmomi.Client {
	u, err := soap.ParseURL(address)
	must(err)
	transport := soap.NewClient(u, false)
	must(transport.SetRootCAs(ca))
	vim, err := vim25.NewClient(ctx, transport)
	must(err)
	client := &govmomi.Client{Client: vim, SessionManager: session.NewManager(vim)}
	must(client.Login(ctx, u.User))
	return client
}

// Every VM with its references, which are empty where the server writes them as nobody but itself reads them.
func list(ctx context.Context, client *govmomi.Client) {
	container, err := view.NewManager(client.Client).CreateContainerView(
		ctx, client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	must(err)
	var machines []mo.VirtualMachine
	must(container.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "resourcePool", "datastore", "runtime.host"}, &machines))
	must(container.Destroy(ctx))
	for _, one := range machines {
		say(learnt{"vm": one.Name, "moref": one.Self.Value, "pool": one.ResourcePool, "host": one.Runtime.Host, "datastores": one.Datastore})
	}
}

// What a backup does to a VM: tracking on, a snapshot, another one, and what changed between them.
func back(ctx context.Context, client *govmomi.Client, finder *find.Finder, vm *object.VirtualMachine, key int32) {
	running, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(true)})
	must(err)
	must(running.Wait(ctx))
	first := snapshot(ctx, client, vm, "first", key)
	say(learnt{"file": first.FileName, "change_id": first.ChangeId})
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	must(err)
	second := snapshot(ctx, client, vm, "second", key)
	changed, err := methods.QueryChangedDiskAreas(ctx, client, &types.QueryChangedDiskAreas{
		This: vm.Reference(), Snapshot: &second.snapshot, DeviceKey: key, StartOffset: 0, ChangeId: first.ChangeId,
	})
	must(err)
	areas := [][2]int64{}
	for _, area := range changed.Returnval.ChangedArea {
		areas = append(areas, [2]int64{area.Start, area.Length})
	}
	say(learnt{"areas": areas, "length": changed.Returnval.Length})
	download(ctx, finder, first.FileName)
	keep := true
	running, err = vm.RemoveAllSnapshot(ctx, &keep)
	must(err)
	must(running.Wait(ctx))
}

type frozen struct {
	types.VirtualDiskFlatVer2BackingInfo
	snapshot types.ManagedObjectReference
}

func snapshot(ctx context.Context, client *govmomi.Client, vm *object.VirtualMachine, name string, key int32) frozen {
	running, err := vm.CreateSnapshot(ctx, name, "", false, false)
	must(err)
	info, err := running.WaitForResult(ctx, nil)
	must(err)
	made := info.Result.(types.ManagedObjectReference)
	var seen mo.VirtualMachineSnapshot
	must(property.DefaultCollector(client.Client).RetrieveOne(ctx, made, []string{"config.hardware.device"}, &seen))
	disk := object.VirtualDeviceList(seen.Config.Hardware.Device).FindByKey(key).(*types.VirtualDisk)
	return frozen{*disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo), made}
}

// The disk's bytes as the first snapshot froze them, and what lies beside them.
func download(ctx context.Context, finder *find.Finder, file string) {
	var descriptor object.DatastorePath
	descriptor.FromString(file)
	store, err := finder.Datastore(ctx, descriptor.Datastore)
	must(err)
	flat := strings.TrimSuffix(descriptor.Path, ".vmdk") + "-flat.vmdk"
	body, _, err := store.Download(ctx, flat, &soap.DefaultDownload)
	must(err)
	sum := sha256.New()
	size, err := io.Copy(sum, body)
	must(err)
	say(learnt{"downloaded": flat, "size": size, "sha256": hex.EncodeToString(sum.Sum(nil))})

	browser, err := store.Browser(ctx)
	must(err)
	directory := object.DatastorePath{Datastore: descriptor.Datastore, Path: path.Dir(descriptor.Path)}
	running, err := browser.SearchDatastore(ctx, directory.String(), &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*.vmdk"}})
	must(err)
	info, err := running.WaitForResult(ctx, nil)
	must(err)
	names := []string{}
	for _, one := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		names = append(names, one.GetFileInfo().Path)
	}
	sort.Strings(names)
	say(learnt{"files": names})
}

// What the server remembers of it: tasks and events.
func past(ctx context.Context, client *govmomi.Client, vm *object.VirtualMachine) {
	reference := vm.Reference()
	must(event.NewManager(client.Client).PostEvent(ctx, &types.EventEx{
		Event:       types.Event{Vm: &types.VmEventArgument{Vm: reference, EntityEventArgument: types.EntityEventArgument{Name: "-"}}},
		EventTypeId: "org.example.backup.done",
	}))
	events, err := event.NewManager(client.Client).QueryEvents(ctx, types.EventFilterSpec{
		Entity: &types.EventFilterSpecByEntity{Entity: reference, Recursion: types.EventFilterSpecRecursionOptionSelf},
	})
	must(err)
	kinds := []string{}
	for _, one := range events {
		if own, ok := one.(*types.EventEx); ok {
			kinds = append(kinds, own.EventTypeId)
		}
	}
	say(learnt{"events": kinds})
	made, err := methods.CreateCollectorForTasks(ctx, client, &types.CreateCollectorForTasks{This: *client.ServiceContent.TaskManager})
	must(err)
	var collector mo.TaskHistoryCollector
	must(property.DefaultCollector(client.Client).RetrieveOne(ctx, made.Returnval, []string{"latestPage"}, &collector))
	names := []string{}
	for _, one := range collector.LatestPage {
		names = append(names, one.DescriptionId)
	}
	say(learnt{"tasks": names})
}
