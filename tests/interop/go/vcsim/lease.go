package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func disksOf(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var found []*types.VirtualDisk
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			found = append(found, disk)
		}
	}
	return found
}

// Gives the disk a uuid, which a vCenter's disks always have and vcsim's never.
func identify(disk *types.VirtualDisk) {
	disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).Uuid = "6000C29" + uuid.New().String()[7:]
}

// The file here that holds the disk's bytes.
func flat(vm *simulator.VirtualMachine, disk *types.VirtualDisk) string {
	var file object.DatastorePath
	backing := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo()
	file.FromString(backing.FileName)
	store := simulator.Map.FindByName(file.Datastore, vm.Datastore).(*simulator.Datastore)
	return path.Join(store.Info.GetDatastoreInfo().Url, strings.TrimSuffix(file.Path, ".vmdk")+"-flat.vmdk")
}

// A resource pool whose leases keep what is uploaded. vcsim's type is embedded by value, first: it reads properties of nothing else.
type pool struct {
	simulator.ResourcePool
	directory string
}

func (p *pool) ImportVApp(ctx *simulator.Context, request *types.ImportVApp) soap.HasFault {
	if spec, ok := request.Spec.(*types.VirtualMachineImportSpec); ok {
		spec.ConfigSpec.DeviceChange = withoutVideo(spec.ConfigSpec.DeviceChange)
	}
	answer := p.ResourcePool.ImportVApp(ctx, request)
	body, ok := answer.(*methods.ImportVAppBody)
	if !ok || body.Res == nil {
		return answer
	}
	made := &lease{HttpNfcLease: *ctx.Session.Get(body.Res.Returnval).(*simulator.HttpNfcLease), directory: p.directory}
	vm := ctx.Map.Get(made.Info.Entity).(*simulator.VirtualMachine)
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	made.disks = map[string]*types.VirtualDisk{}
	made.Info.DeviceUrl = nil
	for number, disk := range disksOf(vm) {
		target := fmt.Sprintf("disk-%d.vmdk", number)
		made.disks[target] = disk
		identify(disk)
		name := fmt.Sprintf("%s:%d", controllerOf(devices, disk), *disk.UnitNumber)
		made.Info.DeviceUrl = append(made.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: "/" + vm.Self.Value + "/" + name, ImportKey: "/" + vm.Name + "/" + name, TargetId: target,
			Url: "https://*/nfc/" + made.Self.Value + "/" + target, Disk: types.NewBool(true),
		})
	}
	// The last first: who pairs them by order is wrong.
	for i, j := 0, len(made.Info.DeviceUrl)-1; i < j; i, j = i+1, j-1 {
		made.Info.DeviceUrl[i], made.Info.DeviceUrl[j] = made.Info.DeviceUrl[j], made.Info.DeviceUrl[i]
	}
	ctx.Session.Put(made)
	leases.Store(made.Self.Value, made)
	return answer
}

// vcsim refuses a second video card beside the one that it gives each VM; other clients send theirs, so a vCenter seems to take it.
func withoutVideo(changes []types.BaseVirtualDeviceConfigSpec) []types.BaseVirtualDeviceConfigSpec {
	kept := []types.BaseVirtualDeviceConfigSpec{}
	for _, one := range changes {
		if _, ok := one.GetVirtualDeviceConfigSpec().Device.(*types.VirtualMachineVideoCard); !ok {
			kept = append(kept, one)
		}
	}
	return kept
}

// ParaVirtualSCSIController0, as users of a real vCenter report it.
func controllerOf(devices object.VirtualDeviceList, disk *types.VirtualDisk) string {
	controller := devices.FindByKey(disk.ControllerKey)
	kind := strings.TrimPrefix(fmt.Sprintf("%T", controller), "*types.")
	return fmt.Sprintf("%s%d", kind, controller.(types.BaseVirtualController).GetVirtualController().BusNumber)
}

var leases sync.Map

type lease struct {
	simulator.HttpNfcLease
	directory string
	disks     map[string]*types.VirtualDisk
	lock      sync.Mutex
	manifest  []types.HttpNfcLeaseManifestEntry
}

var _ mo.Reference = (*lease)(nil)

func (l *lease) HttpNfcLeaseGetManifest(_ *simulator.Context, _ *types.HttpNfcLeaseGetManifest) soap.HasFault {
	l.lock.Lock()
	defer l.lock.Unlock()
	return &methods.HttpNfcLeaseGetManifestBody{Res: &types.HttpNfcLeaseGetManifestResponse{Returnval: l.manifest}}
}

// Takes an uploaded stream: its sum for the manifest, its bytes for the disk.
func (l *lease) take(target string, body io.Reader) error {
	disk, ok := l.disks[target]
	if !ok {
		return fmt.Errorf("the lease has no %s", target)
	}
	stream := path.Join(l.directory, l.Self.Value+"-"+target)
	file, err := os.Create(stream)
	if err != nil {
		return err
	}
	defer os.Remove(stream)
	sum := sha1.New()
	size, err := io.Copy(io.MultiWriter(file, sum), body)
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return err
	}
	vm := simulator.Map.Get(l.Info.Entity).(*simulator.VirtualMachine)
	raw := flat(vm, disk)
	if said, err := exec.Command("qemu-img", "convert", "-f", "vmdk", "-O", "raw", stream, raw).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", err, said)
	}
	status, err := os.Stat(raw)
	if err != nil {
		return err
	}
	disk.CapacityInBytes, disk.CapacityInKB = status.Size(), status.Size()/1024
	l.lock.Lock()
	defer l.lock.Unlock()
	for _, one := range l.Info.DeviceUrl {
		if one.TargetId == target {
			l.manifest = append(l.manifest, types.HttpNfcLeaseManifestEntry{
				Key: one.Key, Sha1: hex.EncodeToString(sum.Sum(nil)), Size: size, Disk: true, Capacity: status.Size(),
			})
		}
	}
	return nil
}

// Before vcsim's own handler, which reads uploads and throws them away.
func keeping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		if len(parts) != 4 || parts[1] != "nfc" || r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		found, ok := leases.Load(parts[2])
		if !ok {
			http.NotFound(w, r)
			return
		}
		if err := found.(*lease).take(parts[3], r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
}
