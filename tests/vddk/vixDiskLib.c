/* A stand-in for VMware's VDDK library, for tests of what nbdkit's vddk plugin makes of our command lines.
 *
 * It is asked for a disk as the library is: who logs in, at which certificate, for which VM and snapshot. What it expects
 * stands in the file `expected` of its libdir, lines of key=value; it then serves plain files below `root`, says which of
 * their 64 KiB chunks are holes, and fails as it is told to: `fail=open:5` or `fail=read:14010:3` (the third read; `write`
 * and `flush` likewise), `nfc=N` (only N disks may be open, counted by locks on files in libdir), `extents=no`, `crowd=yes`
 * (the disk that has the buffers is read only once another was refused them). A value `*` is any.
 *
 * What is asked of a disk is appended to the file `requests` of its libdir, a line each: `w PATH OFFSET LENGTH` in bytes,
 * `r` alike, `f PATH 0 0`. A file that a running VM writes is locked (flock, by the simulator) and does not open; one that
 * is written here is locked too, so that nobody else writes it and its VM does not start.
 *
 * The interface is that of the VDDK programming guide; names, shapes and codes as in nbdkit's plugins/vddk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define CHUNK_SECTORS 128
#define ASYNC 25000
#define OPEN_READ_ONLY 4

enum { FAIL = 1, NOT_FOUND = 4, IN_USE = 15, NO_PERMISSION = 3014, NO_VM = 4000, BAD_SNAPSHOT = 16000 };

typedef uint64_t Error;
typedef void Log(const char *format, va_list arguments);
typedef void Completed(void *data, Error result);

typedef struct {
    char *vm, *server, *thumbprint;
    long reserved1;
    int credentials; /* 1: user and password */
    union {
        struct {
            char *user, *password;
        } login;
        struct {
            char *cookie, *user, *key;
        } session;
    } by;
    uint32_t port, nfc_port;
    char room[256];
} Parameters;

typedef struct {
    uint32_t geometry[6];
    uint64_t capacity;
    int adapter, links;
    char *parent, *uuid;
    uint32_t logical_sector, physical_sector;
    char room[256];
} Info;

typedef struct {
    uint64_t offset, length;
} Block;

typedef struct {
    uint32_t count;
    Block blocks[];
} Blocks;

typedef struct {
    char vm[256], user[256], password[256], thumbprint[256], snapshot[256], transports[256];
    int read_only;
} Connection;

typedef struct {
    int file, slot, writable;
    uint64_t sectors;
    unsigned long reads, writes, flushes;
    char path[4096];
} Disk;

static char libdir[4096];
static Log *warn;

static const char *expected(const char *key, char *value, size_t size) {
    char path[4200], line[4096];
    size_t length = strlen(key);
    snprintf(path, sizeof path, "%s/expected", libdir);
    FILE *file = fopen(path, "r");
    value[0] = '\0';
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            snprintf(value, size, "%s", line + length + 1);
            break;
        }
    }
    if (file) fclose(file);
    return value;
}

/* `*` is any. */
static int is(const char *key, const char *given) {
    char value[4096];
    return strcmp(expected(key, value, sizeof value), given) == 0 || strcmp(value, "*") == 0;
}

static void complain(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    warn(format, arguments);
    va_end(arguments);
}

/* The error that is due at this stage, 0 for none. */
static Error due(const char *stage, unsigned long count) {
    char value[256], when[64];
    unsigned long error = 0, at = 0;
    expected("fail", value, sizeof value);
    if (sscanf(value, "%63[a-z]:%lu:%lu", when, &error, &at) < 2 || strcmp(when, stage) != 0) return 0;
    return at == 0 || at == count ? error : 0;
}

/* One write to a file that is appended to: lines of several threads and processes do not mix. */
static void note(char what, Disk *disk, uint64_t start, uint64_t count) {
    char path[4200], line[4400];
    snprintf(path, sizeof path, "%s/requests", libdir);
    int length = snprintf(line, sizeof line, "%c %s %llu %llu\n", what, disk->path, (unsigned long long)(start * SECTOR),
                          (unsigned long long)(count * SECTOR));
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (write(file, line, length) != length) complain("the request could not be noted\n");
    close(file);
}

static Error out_of_buffers(void) {
    complain("[NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested "
             "2097176 bytes\n");
    return FAIL;
}

/* A lock on one of `nfc` files, -1 if all are taken, -2 if there is no limit. */
static int slot(void) {
    char value[32], path[4200];
    int limit = atoi(expected("nfc", value, sizeof value));
    if (limit == 0) return -2;
    for (int number = 0; number < limit; number++) {
        snprintf(path, sizeof path, "%s/slot-%d", libdir, number);
        int file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0) return file;
        if (file >= 0) close(file);
    }
    snprintf(path, sizeof path, "%s/refused", libdir);
    int file = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
    return -1;
}

/* For a minute at most: who waited in vain sees in the test that nobody was refused. */
static void wait_for_a_refused_one(void) {
    char path[4200];
    snprintf(path, sizeof path, "%s/refused", libdir);
    for (int tries = 0; tries < 6000 && access(path, F_OK) != 0; tries++) usleep(10000);
}

Error VixDiskLib_InitEx(uint32_t major, uint32_t minor, Log *log, Log *warning, Log *panic, const char *directory,
                        const char *config) {
    char wanted[4096], line[4096];
    warn = warning;
    snprintf(libdir, sizeof libdir, "%s", directory ? directory : "");
    if (expected("config", wanted, sizeof wanted)[0] == '\0') return 0;
    FILE *file = config ? fopen(config, "r") : NULL;
    int found = 0;
    while (file && fgets(line, sizeof line, file)) found |= strncmp(line, wanted, strlen(wanted)) == 0;
    if (file) fclose(file);
    return found ? 0 : FAIL;
}

void VixDiskLib_Exit(void) {}

const char *VixDiskLib_ListTransportModes(void) { return "file:san:hotadd:nbdssl:nbd"; }

char *VixDiskLib_GetErrorText(Error error, const char *locale) {
    static const struct {
        Error error;
        const char *text;
    } texts[] = {
        {1, "Unknown error"},
        {2, "Memory allocation failed. Out of memory"},
        {4, "A file was not found"},
        {13, "You do not have access rights to this file"},
        {8, "An error occurred while writing a file; the disk is full. Data has not been saved. Free some disk space and "
            "try again"},
        {15, "The file is already in use"},
        {3014, "Insufficient permissions in the host operating system"},
        {4000, "The virtual machine cannot be found"},
        {14008, "The specified server could not be contacted"},
        {14009, "The server refused connection"},
        {14010, "There was an error in communication"},
        {14011, "The connection was lost"},
        {16000, "One of the parameters supplied is invalid"},
        {16064, "The host is not licensed for this feature"},
        {18000, "Cannot connect to the host"},
    };
    for (size_t index = 0; index < sizeof texts / sizeof *texts; index++)
        if (texts[index].error == error) return strdup(texts[index].text);
    return strdup("The operation is not supported");
}

void VixDiskLib_FreeErrorText(char *text) { free(text); }

Parameters *VixDiskLib_AllocateConnectParams(void) { return calloc(1, sizeof(Parameters)); }

void VixDiskLib_FreeConnectParams(Parameters *parameters) { free(parameters); }

Error VixDiskLib_ConnectEx(const Parameters *given, char read_only, const char *snapshot, const char *transports,
                           void **connection) {
    Error error = due("connect", 1);
    if (error) return error;
    if (given->credentials != 1) return FAIL;
    Connection *made = calloc(1, sizeof *made);
    made->read_only = read_only != 0;
    snprintf(made->vm, sizeof made->vm, "%s", given->vm);
    snprintf(made->user, sizeof made->user, "%s", given->by.login.user);
    snprintf(made->password, sizeof made->password, "%s", given->by.login.password);
    snprintf(made->thumbprint, sizeof made->thumbprint, "%s", given->thumbprint);
    snprintf(made->snapshot, sizeof made->snapshot, "%s", snapshot ? snapshot : "");
    snprintf(made->transports, sizeof made->transports, "%s", transports ? transports : "");
    *connection = made;
    return 0;
}

Error VixDiskLib_Disconnect(void *connection) {
    free(connection);
    return 0;
}

/* "[store] directory/x.vmdk" is root/store/directory/x-flat.vmdk. */
static int open_file(const char *name, int writable, char *path, size_t size) {
    char root[2048], store[256];
    const char *end = strstr(name, "] ");
    size_t length = strlen(name);
    if (name[0] != '[' || !end || length < 5 || strcmp(name + length - 5, ".vmdk") != 0) return -1;
    snprintf(store, sizeof store, "%.*s", (int)(end - name - 1), name + 1);
    snprintf(path, size, "%s/%s/%.*s-flat.vmdk", expected("root", root, sizeof root), store,
             (int)(name + length - 5 - (end + 2)), end + 2);
    return open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
}

Error VixDiskLib_Open(void *with, const char *name, uint32_t flags, void **disk) {
    Connection *connection = with;
    struct stat found;
    Error error = due("open", 1);
    if (error == 5) return out_of_buffers();
    if (error) return error;
    if (!is("thumbprint", connection->thumbprint)) return FAIL;
    if (!is("user", connection->user) || !is("password", connection->password)) return NO_PERMISSION;
    if (!is("vm", connection->vm)) return NO_VM;
    if (!is("snapshot", connection->snapshot)) return BAD_SNAPSHOT;
    int writable = !(flags & OPEN_READ_ONLY);
    if (!is("transports", connection->transports) || writable == connection->read_only) return FAIL;
    int taken = slot();
    if (taken == -1) return out_of_buffers();
    Disk *opened = calloc(1, sizeof *opened);
    int file = open_file(name, writable, opened->path, sizeof opened->path);
    error = file < 0 || fstat(file, &found) < 0                                  ? NOT_FOUND
            : flock(file, (writable ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 ? 0
            : writable                                                          ? IN_USE
                                                                                : FAIL;
    if (error) {
        if (taken >= 0) close(taken);
        if (file >= 0) close(file);
        free(opened);
        return error;
    }
    opened->file = file;
    opened->writable = writable;
    opened->slot = taken;
    opened->sectors = found.st_size / SECTOR;
    *disk = opened;
    return 0;
}

Error VixDiskLib_Close(void *handle) {
    Disk *disk = handle;
    close(disk->file);
    if (disk->slot >= 0) close(disk->slot);
    free(disk);
    return 0;
}

const char *VixDiskLib_GetTransportMode(void *handle) { return "nbdssl"; }

Error VixDiskLib_GetInfo(void *handle, Info **info) {
    *info = calloc(1, sizeof **info);
    (*info)->capacity = ((Disk *)handle)->sectors;
    (*info)->logical_sector = (*info)->physical_sector = SECTOR;
    return 0;
}

void VixDiskLib_FreeInfo(Info *info) { free(info); }

Error VixDiskLib_Read(void *handle, uint64_t start, uint64_t count, unsigned char *buffer) {
    Disk *disk = handle;
    Error error = due("read", ++disk->reads);
    char value[32];
    if (strcmp(expected("crowd", value, sizeof value), "yes") == 0) wait_for_a_refused_one();
    if (error == 5) return out_of_buffers();
    if (error) return error;
    if (start + count > disk->sectors) return FAIL;
    note('r', disk, start, count);
    for (size_t done = 0; done < count * SECTOR;) {
        ssize_t got = pread(disk->file, buffer + done, count * SECTOR - done, start * SECTOR + done);
        if (got <= 0) return FAIL;
        done += got;
    }
    return 0;
}

Error VixDiskLib_ReadAsync(void *handle, uint64_t start, uint64_t count, unsigned char *buffer, Completed *completed,
                           void *data) {
    completed(data, VixDiskLib_Read(handle, start, count, buffer));
    return ASYNC;
}

Error VixDiskLib_Wait(void *handle) { return 0; }

/* Zeroes are data like all else: VDDK has no call to make holes. */
Error VixDiskLib_Write(void *handle, uint64_t start, uint64_t count, const unsigned char *buffer) {
    Disk *disk = handle;
    Error error = due("write", ++disk->writes);
    if (error == 5) return out_of_buffers();
    if (error) return error;
    if (!disk->writable) return NO_PERMISSION;
    if (start + count > disk->sectors) return FAIL;
    note('w', disk, start, count);
    for (size_t done = 0; done < count * SECTOR;) {
        ssize_t put = pwrite(disk->file, buffer + done, count * SECTOR - done, start * SECTOR + done);
        if (put <= 0) return FAIL;
        done += put;
    }
    return 0;
}

Error VixDiskLib_WriteAsync(void *handle, uint64_t start, uint64_t count, const unsigned char *buffer,
                            Completed *completed, void *data) {
    completed(data, VixDiskLib_Write(handle, start, count, buffer));
    return ASYNC;
}

Error VixDiskLib_Flush(void *handle) {
    Disk *disk = handle;
    Error error = due("flush", ++disk->flushes);
    if (error) return error;
    note('f', disk, 0, 0);
    return 0;
}

Error VixDiskLib_Create(void *connection, const char *path, const void *parameters, void *progress, void *data) {
    return FAIL;
}

static int is_hole(Disk *disk, uint64_t sector, uint64_t end) {
    off_t data = lseek(disk->file, sector * SECTOR, SEEK_DATA);
    return data < 0 ? errno == ENXIO : (uint64_t)data >= end * SECTOR;
}

Error VixDiskLib_QueryAllocatedBlocks(void *handle, uint64_t start, uint64_t count, uint64_t chunk, Blocks **found) {
    Disk *disk = handle;
    if (is("extents", "no")) return 6;
    if (start % CHUNK_SECTORS || count % chunk || start + count > disk->sectors) return 3;
    Blocks *blocks = calloc(1, sizeof *blocks + (count / chunk) * sizeof(Block));
    for (uint64_t at = start; at < start + count; at += chunk)
        if (!is_hole(disk, at, at + chunk)) blocks->blocks[blocks->count++] = (Block){at, chunk};
    *found = blocks;
    return 0;
}

Error VixDiskLib_FreeBlockList(Blocks *blocks) {
    free(blocks);
    return 0;
}
