/* A disk that cannot be read, under the real find and tar: BAD_READS names what fails, as "verb name" separated by ';'.

   open NAME     opening it fails with EIO
   read NAME     it opens, and reading it (a file or a directory) fails with EIO
   hide NAME     a directory that holds it does not list it, as a short readdir does not
   lose NAME     it is listed, and gone when it is looked at */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char bad[65536];

static int is(const char *verb, const char *path)
{
    const char *rules = getenv("BAD_READS"), *name = strrchr(path, '/');
    char wanted[600];
    if (rules == NULL)
        return 0;
    name = name == NULL ? path : name + 1;
    if (strlen(verb) + strlen(name) + 4 > sizeof wanted)
        return 0;
    strcpy(wanted, ";");
    strcat(wanted, verb);
    strcat(wanted, " ");
    strcat(wanted, name);
    strcat(wanted, ";");
    return strstr(rules, wanted) != NULL;
}

static int opened(int (*real)(int, const char *, int, ...), int at, const char *path, int flags, int mode)
{
    if (is("open", path)) {
        errno = EIO;
        return -1;
    }
    int fd = real(at, path, flags, mode);
    if (fd >= 0 && fd < (int) sizeof bad)
        bad[fd] = is("read", path);
    return fd;
}

#define OPENAT(NAME) \
    int NAME(int at, const char *path, int flags, ...) \
    { \
        va_list more; \
        va_start(more, flags); \
        int mode = va_arg(more, int); \
        va_end(more); \
        return opened((int (*)(int, const char *, int, ...)) dlsym(RTLD_NEXT, #NAME), at, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

/* What a program that was built with _FORTIFY_SOURCE calls. */

#define CHECKED(NAME) \
    int NAME(int at, const char *path, int flags) \
    { \
        return opened((int (*)(int, const char *, int, ...)) dlsym(RTLD_NEXT, #NAME), at, path, flags, 0); \
    }
CHECKED(__openat_2)
CHECKED(__openat64_2)

#define READDIR(NAME, TYPE) \
    struct TYPE *NAME(DIR *directory) \
    { \
        struct TYPE *(*real)(DIR *) = (struct TYPE *(*)(DIR *)) dlsym(RTLD_NEXT, #NAME), *found; \
        if (bad[dirfd(directory)]) { \
            errno = EIO; \
            return NULL; \
        } \
        do \
            found = real(directory); \
        while (found != NULL && is("hide", found->d_name)); \
        if (found != NULL && is("lose", found->d_name)) { \
            found->d_name[0] = '!'; \
            found->d_type = DT_UNKNOWN; \
        } \
        return found; \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)

ssize_t read(int fd, void *buffer, size_t size)
{
    ssize_t (*real)(int, void *, size_t) = (ssize_t (*)(int, void *, size_t)) dlsym(RTLD_NEXT, "read");
    if (fd >= 0 && fd < (int) sizeof bad && bad[fd]) {
        errno = EIO;
        return -1;
    }
    return real(fd, buffer, size);
}

int close(int fd)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < (int) sizeof bad)
        bad[fd] = 0;
    return real(fd);
}
