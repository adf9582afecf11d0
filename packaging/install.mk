# Installation, for GNU make and for FreeBSD's make alike; included by the Makefile, and usable alone: make -f packaging/install.mk install
#
#	make install		programs, plugins, manuals, rc.d script, devd rules, sample configuration
#	make deinstall		takes exactly that away again; what an administrator edited or added stays
#	make delete-old		takes away what older versions installed; with WITHOUT_HYPERV=yes everything
#	make check-plist	the port's packing list agrees with what is installed
#
# PREFIX, DESTDIR	where to
# PRODUCTS		where the programs and plugins were built
# VSSCTL		a vssctl that runs here, where PRODUCTS are for another system
# STRIP=-s		without symbols
# WITHOUT_HYPERV=yes	nothing is built or installed

PREFIX?=	/usr/local
PRODUCTS?=	$${CARGO_TARGET_DIR:-target}/release

HV_VSS_INSTALL=	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" PRODUCTS="$(PRODUCTS)" \
		STRIP="$(STRIP)" ARCH="$(ARCH)" VSSCTL="$(VSSCTL)" \
		WITHOUT_HYPERV="$(WITHOUT_HYPERV)" packaging/install

install:
	@$(HV_VSS_INSTALL) install

deinstall uninstall:
	@$(HV_VSS_INSTALL) deinstall

delete-old:
	@$(HV_VSS_INSTALL) delete-old

check-plist:
	@$(HV_VSS_INSTALL) plist | diff packaging/freebsd-port/pkg-plist -

.PHONY: install deinstall uninstall delete-old check-plist
